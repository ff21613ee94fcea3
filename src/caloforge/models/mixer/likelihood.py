"""Maximum likelihood for models that know how likely a shower is, at least cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from caloforge.models.base import ShowerModel
from caloforge.models.objective import LossStep
from caloforge.showers.batch import Batch

__all__ = ["CellLikelihoodObjective", "Likely", "cell_nats"]


@runtime_checkable
class Likely(Protocol):
    """A model that knows how likely showers are."""

    def log_likelihood(
        self, deposits_BXYZ: Tensor, energy_B: Tensor, theta_B: Tensor, impact_mm_B2: Tensor
    ) -> Tensor:
        """Mean over showers and cells, in nats; deposits and energies in MeV."""


def cell_nats(model: Likely, batch: Batch) -> Tensor:
    """Minus the log likelihood of a batch."""
    return -model.log_likelihood(batch.deposits_BXYZ, batch.energy_B, batch.theta_B, batch.impact_mm_B2)


class CellLikelihoodObjective:
    """Minimises minus the log likelihood of each cell given the conditions and the layers' energies."""

    def __init__(self, model: ShowerModel) -> None:
        self.model = model
        self.networks: Mapping[str, nn.Module] = {"generator": model}

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make an Adam without momentum."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.0, 0.99))

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Yield one loss: nats a cell."""
        assert isinstance(self.model, Likely)
        yield LossStep("generator", cell_nats(self.model, batch), {})
