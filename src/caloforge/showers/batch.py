"""Showers and what they are given, as tensors: what models learn from and make showers from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from caloforge.showers.conditions import ELECTRON, IN_Y_Z, NORMAL_INCIDENCE, Conditions

__all__ = ["Batch", "Given"]


class Given(NamedTuple):
    """What each of B showers is given: see :class:`Conditions`.

    Energies in MeV, angles in rad, impact points in mm from the central cell's centre (zero where they are not
    known), the primaries' PDG ids (int64).
    """

    energy_B: Tensor
    theta_B: Tensor
    phi_B: Tensor
    impact_mm_B2: Tensor
    pdg_B: Tensor

    @classmethod
    def of(
        cls,
        energy_B: Tensor,
        theta_B: Tensor | None = None,
        phi_B: Tensor | None = None,
        impact_mm_B2: Tensor | None = None,
        pdg_B: Tensor | None = None,
    ) -> Given:
        """Fill in what is usual: normal incidence, in the middle of the central cell, of electrons."""
        return cls(
            energy_B,
            torch.full_like(energy_B, NORMAL_INCIDENCE) if theta_B is None else theta_B,
            torch.full_like(energy_B, IN_Y_Z) if phi_B is None else phi_B,
            energy_B.new_zeros(energy_B.shape[0], 2) if impact_mm_B2 is None else impact_mm_B2,
            torch.full_like(energy_B, ELECTRON, dtype=torch.int64) if pdg_B is None else pdg_B,
        )

    @classmethod
    def tensors(cls, conditions: Conditions) -> Given:
        """Return conditions as tensors."""
        impact_N2 = conditions.impact_xy
        if impact_N2 is None:
            impact_N2 = np.zeros((len(conditions), 2), np.float32)
        columns = (conditions.incident_energy, conditions.incident_theta, conditions.phi, impact_N2)
        energy, theta, phi, impact = (
            torch.from_numpy(np.ascontiguousarray(column, np.float32)) for column in columns
        )
        return cls(energy, theta, phi, impact, torch.from_numpy(conditions.particle.astype(np.int64)))

    def each(self, change: Callable[[Tensor], Tensor]) -> Given:
        """Apply a function to each of the tensors."""
        return Given(*map(change, self))

    def take(self, rows: slice | Tensor) -> Given:
        """Return some of the showers' conditions."""
        return self.each(lambda values: values[rows])


@dataclass(frozen=True, eq=False)
class Batch:
    """Showers to learn from: deposits (B, nx, ny, nz) in MeV, and what they were given."""

    deposits_BXYZ: Tensor
    given: Given
    share: float = 1.0
    """Of the showers that all workers take in this step: the weight of a mean over this batch."""

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        given = self.given.each(lambda values: values.to(device))
        return Batch(self.deposits_BXYZ.to(device), given, self.share)

    def take(self, rows: slice | Tensor) -> Batch:
        """Return some of the showers."""
        return Batch(self.deposits_BXYZ[rows], self.given.take(rows), self.share)
