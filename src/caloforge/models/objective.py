"""The contract of every kind of training: what it begins with, its losses, and how weights are stepped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.models.base import ShowerModel
from caloforge.showers import Domain, Showers
from caloforge.showers.batch import Batch, Given

__all__ = ["LossStep", "Objective", "TrainingShowers"]


@dataclass(frozen=True)
class TrainingShowers:
    """What is known of the showers of a training before its first step; energies in MeV.

    ``domain`` bounds their conditions, ``energy_N`` are the incident energies of all, ``deposit_N`` adds up the deposits of each, and ``some``
    reads some of them, drawn at random: enough for first moments.
    """

    grid: Grid
    threshold_MeV: float
    domain: Domain
    energy_N: NDArray[Any]
    deposit_N: Callable[[], NDArray[Any]]
    some: Callable[[], Batch]

    @classmethod
    def held(cls, showers: Showers, threshold_MeV: float) -> TrainingShowers:
        """Take all of some showers in memory, without their impact points."""
        known = replace(showers.conditions, impact_xy=None)
        batch = Batch(torch.from_numpy(showers.deposits), Given.tensors(known))
        return cls(
            showers.grid,
            threshold_MeV,
            Domain.of(known),
            showers.incident_energy,
            lambda: showers.deposits.sum((1, 2, 3)),
            lambda: batch,
        )


@dataclass(frozen=True)
class LossStep:
    """One network's loss, to be followed by a step of its optimiser; ``terms`` are shown."""

    network: str
    loss: Tensor
    terms: dict[str, Tensor]


class Objective(Protocol):
    """Yields the losses of its networks in turn; each is stepped before the next is computed.

    What it keeps beside weights lies in buffers of its networks: after each step those of floating
    point are averaged over the workers.
    """

    networks: Mapping[str, nn.Module]

    @property
    def model(self) -> ShowerModel:
        """Return the one of the networks that makes showers."""

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Compute the losses on a batch of real showers, drawing from torch's global generator."""

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make the optimiser of one of the networks."""
