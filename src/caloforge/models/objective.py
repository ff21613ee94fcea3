"""The contract of every kind of training: losses of networks in turn, and how their weights are stepped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from caloforge.models.base import ShowerModel
from caloforge.showers.batch import Batch

__all__ = ["LossStep", "Objective"]


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
        """The one of the networks that makes showers."""

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Compute the losses on a batch of real showers, drawing from torch's global generator."""

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make the optimiser of one of the networks."""
