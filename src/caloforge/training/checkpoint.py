"""Checkpoints: everything that training needs to go on as if it had never stopped.

Randomness is addressed by step (:mod:`caloforge.foundations.randomness`), so there is no generator state to keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from caloforge.files.tensors import load_into, load_tensors, save_tensors
from caloforge.foundations.errors import CaloforgeError

__all__ = ["Checkpoint", "TrainState", "TrainingProgress", "newest_valid", "save_checkpoint"]


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
            for index, state in optimizer.state_dict()["state"].items():
                found |= {f"optimizer.{name}.{index}.{key}": value for key, value in state.items()}
        return found

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take up the state that :meth:`tensors` gave. Raises CaloforgeError if it does not fit."""
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

    ``step`` counts the steps done, ``position`` the steps of the loader, ``steps_per_epoch`` an epoch:
    the two differ once a run went on with another number of workers. ``best`` has the figures of the
    best check, ``scores`` those of every epoch.
    """

    step: int = 0
    position: int = 0
    steps_per_epoch: int = 0
    workers: int = 1
    best: Mapping[str, float] = field(default_factory=lambda: {"score": math.inf})
    scores: Sequence[float] = ()

    def note(self) -> dict[str, Any]:
        """Return all in a form for JSON, which knows no infinity."""
        known = {name: value for name, value in self.best.items() if math.isfinite(value)}
        return {**asdict(self), "best": known}

    @classmethod
    def of(cls, note: Mapping[str, Any]) -> TrainingProgress:
        """Read a note; one of an older checkpoint has ``step`` and ``best`` alone."""
        complete = {"position": note["step"], **note}
        return cls(**{**complete, "best": {"score": math.inf, **note["best"]}})


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read and checked."""

    path: Path
    tensors: dict[str, torch.Tensor]
    standing: TrainingProgress


def save_checkpoint(
    folder: Path, tensors: Mapping[str, torch.Tensor], standing: TrainingProgress, keep: int
) -> Path:
    """Save after a step, then remove all but the ``keep`` newest."""
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(".step-*.tmp"):  # of a run that was killed while it wrote
        leftover.unlink(missing_ok=True)
    path = folder / f"step-{standing.step:08d}.safetensors"
    save_tensors(path, tensors, standing.note())
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def newest_valid(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest checkpoint that is whole; also say in a line each why newer ones are not."""
    complaints: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            tensors, note = load_tensors(path)
            return Checkpoint(path, tensors, TrainingProgress.of(note)), complaints
        except CaloforgeError as error:
            complaints.append(str(error))
    return None, complaints
