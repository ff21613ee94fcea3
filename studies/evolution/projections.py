"""The talk's simpler task: the primary energy from a projection of the shower."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.randomness import stream
from caloforge.foundations.units import GEV

__all__ = ["Accuracy", "EnergyData", "Projections", "accuracy", "project"]

PATCH = 5
PART = 0.2
"""Of the showers: what validates, and what tests where no file of its own does."""

UNIT_MEV = 100 * GEV
FEWEST = 20


@dataclass(frozen=True, eq=False)
class Projections:
    """Showers seen from the side, cut into patches (B, N, K), and incident energies (B,) in 100 GeV."""

    patches_BNK: Tensor
    energy_B: Tensor

    def __len__(self) -> int:
        return len(self.energy_B)

    def __getitem__(self, index_B: NDArray[np.int64]) -> Projections:
        index = torch.from_numpy(index_B)
        return Projections(self.patches_BNK.index_select(0, index), self.energy_B.index_select(0, index))

    def in_unit(self, unit_MeV: float) -> Projections:
        """Return deposits in another unit."""
        return Projections(self.patches_BNK / unit_MeV, self.energy_B)


def project(path: Path) -> Projections:
    """Read a shower file; add the deposits (MeV) up along the second axis.

    Raises UsageError or CaloforgeError for a file that is missing, broken or has fewer than 20 showers.
    """
    with ShowerFile(path) as file:
        if len(file) < FEWEST:
            raise CaloforgeError(f"{path}: expected at least {FEWEST} showers, found {len(file)}")
        images = np.concatenate([showers.deposits.sum(axis=2) for showers in file.chunks()])
        energy_B = file.conditions.incident_energy / np.float32(UNIT_MEV)
    count, nx, nz = images.shape
    ax, az = -(-nx // PATCH), -(-nz // PATCH)
    images = np.pad(images, ((0, 0), (0, PATCH * ax - nx), (0, PATCH * az - nz)))
    cut = images.reshape(count, ax, PATCH, az, PATCH).transpose(0, 1, 3, 2, 4)
    return Projections(torch.tensor(cut.reshape(count, ax * az, -1)), torch.from_numpy(energy_B))


@dataclass(frozen=True, eq=False)
class EnergyData:
    """Showers to learn from, to choose by and to quote; deposits in the training part's root mean square."""

    train: Projections
    validation: Projections
    test: Projections

    @classmethod
    def of(cls, data: Projections, test: Projections | None, seed: int) -> EnergyData:
        """Split by the seed; a fifth validates, and without ``test`` another fifth tests."""
        order_N = stream(seed, "split").permutation(len(data))
        part = round(PART * len(data))
        held_N, rest_N = np.split(order_N, [part if test is None else 0])
        validation_N, train_N = np.split(rest_N, [part])
        train = data[train_N]
        unit = float(train.patches_BNK.square().mean().sqrt()) or 1.0
        parts = (train, data[validation_N], data[held_N] if test is None else test)
        return cls(*(part.in_unit(unit) for part in parts))


@dataclass(frozen=True)
class Accuracy:
    """How well energies are told: root mean square error in GeV, and relative resolution.

    The resolution is half the width of the central 68.3 % of predicted over true energy.
    """

    rmse_GeV: float
    resolution: float


def accuracy(predicted_B: Tensor, energy_B: Tensor) -> Accuracy:
    """Compare energies in 100 GeV."""
    error_B = (predicted_B - energy_B).double()
    low, high = torch.quantile(
        (predicted_B / energy_B).double(), torch.tensor([0.1585, 0.8415]).double()
    )
    rmse = float(error_B.square().mean().sqrt()) * UNIT_MEV / GEV
    return Accuracy(rmse, float(high - low) / 2)
