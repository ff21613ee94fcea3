"""Maximum likelihood for the mixer, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from caloforge.models.mixer.model import Mixer
from caloforge.models.objective import LossStep
from caloforge.showers.batch import Batch

__all__ = ["CellLikelihoodObjective", "cell_nats"]


def cell_nats(model: Mixer, batch: Batch) -> Tensor:
    """Return minus the mean log likelihood of a batch's cells."""
    return -model.log_likelihood(batch.deposits_BXYZ, batch.given.energy_B, batch.given.impact_mm_B2)


class CellLikelihoodObjective:
    """Minimises minus the log likelihood of each cell given the conditions and the layers' energies."""

    def __init__(self, model: Mixer) -> None:
        self.model = model
        self.networks: Mapping[str, nn.Module] = {"generator": model}

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make an Adam without momentum."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.0, 0.99))

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Yield one loss: nats a cell."""
        yield LossStep("generator", cell_nats(self.model, batch), {})
