"""Checkpoints are written while the training goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from caloforge.training.checkpoint import TrainingProgress, TrainState, save_checkpoint

__all__ = ["CheckpointWriter"]


class CheckpointWriter:
    """Writes copies of a training's state in a thread, one checkpoint at a time.

    Every method raises CaloforgeError if the checkpoint before could not be written. The end of the
    block waits for the last one, but is silent: call :meth:`wait` to be sure of it.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="caloforge-checkpoint")
        self._last: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def save(self, state: TrainState, progress: TrainingProgress) -> None:
        """Copy the state, and have the thread write it; waits for the checkpoint before."""
        self.wait()
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.tensors().items()}
        self._last = self._thread.submit(save_checkpoint, self._folder, copies, progress, self._keep)

    def check(self) -> None:
        """Raise the error of a write that failed, without waiting for one that goes on."""
        if self._last is not None and self._last.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the last checkpoint is written."""
        last, self._last = self._last, None
        try:
            if last is not None:
                last.result()
        finally:
            del last  # it holds its error, which holds this frame, and so all that a training has
