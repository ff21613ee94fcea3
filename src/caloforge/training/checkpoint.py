"""Checkpoints: everything that training needs to go on as if it had never stopped.

Randomness is addressed by step (:mod:`caloforge.foundations.randomness`), so there is no generator state to keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from caloforge.files.tensors import load_into, load_tensors, save_tensors
from caloforge.foundations.durable import clear_leftovers
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.texts import fill
from caloforge.training.data_parallel import Group

__all__ = [
    "Checkpoint",
    "TrainState",
    "TrainingProgress",
    "newest_of_all",
    "newest_valid",
    "save_checkpoint",
]


@dataclass(frozen=True)
class TrainState:
    """The parts of a training run whose state changes with every step."""

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Collect all state by dotted name: ``critic.*``, ``optimizer.critic.<parameter>.*``."""
        found = {
            f"{name}.{key}": value
            for name, network in self.networks.items()
            for key, value in network.state_dict().items()
        }
        for name, optimizer in self.optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                found |= {f"optimizer.{name}.{index}.{key}": value for key, value in values.items()}
        return found

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Load what :meth:`tensors` collected. Raises CaloforgeError if it does not fit."""
        for name, network in self.networks.items():
            load_into(network, tensors, name)
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"optimizer.{name}."):
                    index, _, field = key.removeprefix(f"optimizer.{name}.").partition(".")
                    state.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is, beside its tensors.

    ``step`` counts the steps done, ``position`` those since the loader's start, ``steps_per_epoch`` to an
    epoch: the two differ once a run went on with another number of workers. ``best`` has the figures of
    the best check, ``scores`` the score of every epoch's.
    """

    step: Annotated[int, Field(ge=0)] = 0
    position: Annotated[int, Field(ge=0)] = 0
    steps_per_epoch: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=1)] = 1
    best: Mapping[str, float] = field(default_factory=lambda: {"score": math.inf})
    scores: Sequence[float] = ()

    @property
    def epoch(self) -> float:
        """Epochs done."""
        return self.position / self.steps_per_epoch

    @property
    def ends_epoch(self) -> bool:
        """Whether the last step was the last of its epoch."""
        return self.position % self.steps_per_epoch == 0

    def counted_by(self, steps_per_epoch: int, workers: int) -> TrainingProgress:
        """Count the same epochs in the steps of another number of workers."""
        epochs = self.position / (self.steps_per_epoch or steps_per_epoch)
        position = round(epochs * steps_per_epoch)
        return replace(self, position=position, steps_per_epoch=steps_per_epoch, workers=workers)

    def note(self) -> dict[str, Any]:
        """Return all in a form for JSON, which knows no infinity."""
        known = {name: value for name, value in self.best.items() if math.isfinite(value)}
        return {**asdict(self), "best": known}

    @classmethod
    def of(cls, note: Any, source: str) -> TrainingProgress:
        """Read a note; one of an older checkpoint has ``step`` and ``best`` alone. Raises CaloforgeError."""
        if not (isinstance(note, dict) and isinstance(note.get("best"), dict) and "step" in note):
            raise CaloforgeError(f"{source}: note: expected step and best")
        best = {"score": math.inf, **note["best"]}
        return fill(cls, {"position": note["step"], **note, "best": best}, f"{source}: note")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read and checked."""

    path: Path
    tensors: dict[str, torch.Tensor]
    progress: TrainingProgress


def save_checkpoint(
    folder: Path, tensors: Mapping[str, torch.Tensor], progress: TrainingProgress, keep: int
) -> Path:
    """Write a checkpoint, then remove all but the ``keep`` newest."""
    folder.mkdir(exist_ok=True)
    clear_leftovers(folder, ".step-")  # of a run that was killed while it wrote
    path = folder / f"step-{progress.step:08d}.safetensors"
    save_tensors(path, tensors, progress.note())
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def newest_valid(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest whole checkpoint; also list, a line each, what is wrong with newer ones."""
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            tensors, note = load_tensors(path)
            return Checkpoint(path, tensors, TrainingProgress.of(note, str(path))), complaints
        except CaloforgeError as error:
            complaints.append(str(error))
    return None, complaints


def newest_of_all(folder: Path, group: Group) -> tuple[Checkpoint | None, list[str]]:
    """Return all workers what :func:`newest_valid` gives on the first."""
    found, complaints = newest_valid(folder) if group.leads else (None, [])
    known, complaints = group.from_first(
        lambda: ([(str(found.path), found.progress.note())] if found else [], complaints)
    )
    for path, note in known:
        tensors = group.tensors_from_first(found.tensors if found else {})
        found = Checkpoint(Path(path), tensors, TrainingProgress.of(note, path))
    return found, complaints
