"""TensorBoard events, where the user asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from caloforge.foundations.errors import MissingExtraError

__all__ = ["event_writer"]


@contextmanager
def event_writer(folder: Path, *, enabled: bool) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Return what writes the named figures of a step below ``folder``. Raises MissingExtraError without TensorBoard."""
    if not enabled:
        yield lambda _step, _figures: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("tensorboard=true", "tensorboard") from None

    def write(step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            events.add_scalar(name.replace(".", "/"), value, step)

    with SummaryWriter(str(folder / "tensorboard")) as events:
        yield write
