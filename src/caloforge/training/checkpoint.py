"""Checkpoints: everything that training needs to go on as if it had never stopped.

Randomness is addressed by step (:mod:`caloforge.streams`), so there is no generator state to keep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from caloforge.errors import CaloforgeError
from caloforge.io.tensors import load_into, load_tensors, save_tensors

__all__ = ["Checkpoint", "Trainee", "newest_valid", "save_checkpoint"]


@dataclass(frozen=True)
class Trainee:
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
class Checkpoint:
    """One checkpoint, read and checked: tensors by name, and the best epoch's figures."""

    path: Path
    step: int
    tensors: dict[str, torch.Tensor]
    best: dict[str, float]


def save_checkpoint(
    folder: Path, trainee: Trainee, step: int, best: Mapping[str, float], keep: int
) -> Path:
    """Save after ``step`` steps, then remove all but the ``keep`` newest."""
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}.safetensors"
    known = {name: value for name, value in best.items() if math.isfinite(value)}
    save_tensors(path, trainee.tensors(), {"step": step, "best": known})
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
            best = {"score": math.inf, **note["best"]}
            return Checkpoint(path, int(note["step"]), tensors, best), complaints
        except CaloforgeError as error:
            complaints.append(str(error))
    return None, complaints
