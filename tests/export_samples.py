"""Models to export: small ones with fresh weights, and showers to train one on a cylinder."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from caloforge.detector import Grid, load_detector
from caloforge.models.base import ShowerModel
from caloforge.models.saved import ModelCard
from caloforge.models.shared.transforms import Transform
from caloforge.showers import Showers
from caloforge.showers.batch import Given

PLANE = Grid("plane", (9, 8, 6), cell_size=(5.0, 4.0), threshold_MeV=0.01, layer_pitch_mm=5.0)
"""Neither square nor odd along y: what is turned or shifted would be seen."""

Made = tuple[ShowerModel, ModelCard]


class Marked(ShowerModel):
    """Every cell differs from every other, and from itself for other noise, energies and directions."""

    def __init__(self, grid: Grid, *follows: str) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.noise_size = grid, 0.5, 11
        self.transform, self.follows = Transform(factor=2.0), frozenset(follows)

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Return cells' numbers times what is particular to the shower, twice."""
        x = given.theta_B.cos() * given.phi_B.cos()
        y = given.theta_B.cos() * given.phi_B.sin()
        own = given.energy_B * (1 + noise_BL[:, -1] ** 2 + 0.1 * x + 0.3 * y)
        cells = torch.arange(self.grid.n_cells, dtype=torch.float32).view(self.grid.shape)
        return 2 * own[:, None, None, None] * cells / self.grid.n_cells


def a_marked(grid: Grid, *follows: str) -> Made:
    """Return one of these with a card."""
    card = ModelCard("copula", grid, 0.5, (5e3, 1e5), (math.pi / 2, math.pi / 2))
    return Marked(grid, *follows).eval(), card


def a_model(name: str, grid: Grid = PLANE, *, tilted: bool = False, particles: bool = False) -> Made:
    """Build a model with fresh weights."""
    torch.manual_seed(0)
    theta = (1.2, 1.9) if tilted else (math.pi / 2, math.pi / 2)
    phi = (-3.0, 3.0) if tilted and name == "copula" else (math.pi / 2, math.pi / 2)
    card = ModelCard(name, grid, grid.threshold_MeV, (5e3, 1e5), theta, phi, ((-2.5, 2.5), (-2.0, 2.0)))
    card = replace(card, pdg_ids=(11, 22)) if particles else card
    model = card.build().eval()
    model.prepare()
    return model, card


def a_cylinder() -> Grid:
    """Return calochallenge-2's read-out with fewer cells."""
    grid = load_detector("calochallenge-2").grid
    (stack,) = grid.extra["layer_stacks"]
    extra = {**grid.extra, "layer_stacks": [{**stack, "repeat": 5}]}
    size = (4.65, math.pi / 3)
    return replace(grid, name="cylinder", shape=(3, 6, 5), cell_size=size, extra=extra)


def few_showers(grid: Grid, count: int = 48) -> Showers:
    """Make showers that fall off from the axis and have their maximum at some depth."""
    rng = np.random.default_rng(1)
    energy_N = np.exp(rng.uniform(np.log(1e3), np.log(1e5), count)).astype(np.float32)
    r, _, z = np.indices(grid.shape)
    mean = np.exp(-r / 1.2 - ((z - grid.n_layers / 4) / 8.0) ** 2)
    deposits = rng.gamma(1 + 0 * mean, np.multiply.outer(energy_N, mean / mean.sum()))
    deposits = np.where(deposits < grid.threshold_MeV, 0, deposits).astype(np.float32)
    theta_N = np.full(count, math.pi / 2, np.float32)
    return Showers(deposits, energy_N, theta_N, grid, impact_xy=np.zeros((count, 2), np.float32))
