"""All that a new model needs: a network, its objective, its settings, and a :class:`Family` that names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.models.base import ShowerModel
from caloforge.models.family import Family
from caloforge.models.objective import LossStep, TrainingShowers
from caloforge.models.settings import Count, Positive, Sizes, Strict, TrainingConfig, Weight
from caloforge.models.shared.first_weights import from_run
from caloforge.models.shared.transforms import Transform
from caloforge.showers import Domain
from caloforge.showers.batch import Batch, Given


class ToySizes(Sizes):
    terms: Count = 2


class ToyLoss(Strict):
    smoothness: Weight = 0.0


class ToyConfig(TrainingConfig):
    model: Literal["toy"] = "toy"
    architecture: ToySizes = ToySizes()
    objective: ToyLoss = ToyLoss()
    learning_rate: Positive = 0.05


class ToyModel(ShowerModel):
    spread: Tensor

    def __init__(self, grid: Grid, threshold_MeV: float, terms: int) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.transform = grid, threshold_MeV, Transform()
        self.noise_size = 1
        self.log_share = nn.Parameter(torch.zeros(terms, *grid.shape))
        self.register_buffer("spread", torch.tensor(0.0))

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        scale_B111 = (given.energy_B * torch.exp(self.spread * noise_BL[:, 0]))[:, None, None, None]
        return scale_B111 * torch.exp(self.log_share).mean(0)


class ToyObjective:
    def __init__(self, model: ToyModel, loss: ToyLoss) -> None:
        self.model = model
        self.networks: Mapping[str, nn.Module] = {"generator": model}
        self._smoothness = loss.smoothness

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        made_BXYZ = self.model(batch.given, torch.zeros(len(batch.given.energy_B), 1))
        ratio_BXYZ = (made_BXYZ - batch.deposits_BXYZ) / batch.given.energy_B[:, None, None, None]
        loss = ratio_BXYZ.square().sum((1, 2, 3)).mean() + self._smoothness * self.model.log_share.var()
        yield LossStep("generator", loss, {})

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=learning_rate)


def _generator(grid: Grid, threshold_MeV: float, sizes: ToySizes, _domain: Domain) -> ToyModel:
    return ToyModel(grid, threshold_MeV, sizes.terms)


def _objective(
    config: ToyConfig, model: ToyModel, _critic: nn.Module, showers: TrainingShowers
) -> ToyObjective:
    some = showers.some()
    share_BXYZ = some.deposits_BXYZ / some.given.energy_B[:, None, None, None]
    with torch.no_grad():
        model.log_share.copy_(torch.log(share_BXYZ.mean(0).clamp(min=1e-9)))
        model.spread.copy_(torch.log(share_BXYZ.sum((1, 2, 3))).std())
    return ToyObjective(model, config.objective)


TOY = Family("cells' mean shares of the energy", ToyConfig, _generator, _objective, from_run)
