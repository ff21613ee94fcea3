"""TensorBoard events, where the user asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caloforge.foundations.errors import MissingExtraError

__all__ = ["EventWriter", "event_writer"]


class EventWriter:
    """Writes named figures by step to a TensorBoard writer, or nowhere."""

    def __init__(self, writer: Any = None) -> None:
        self._writer = writer

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures of one step."""
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name.replace(".", "/"), value, step)


@contextmanager
def event_writer(folder: Path, *, enabled: bool) -> Iterator[EventWriter]:
    """Open a writer below ``folder``. Raises MissingExtraError without TensorBoard."""
    if not enabled:
        yield EventWriter()
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard=true", "tensorboard") from None
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        yield EventWriter(writer)
