"""A batch of real showers, as tensors to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Batch"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Showers to learn from: deposits (B, nx, ny, nz) and energies (B,) in MeV, angles (B,) in rad.

    Impact points (B, 2) are in mm from the central cell's centre, and zero where they are not known.
    """

    deposits_BXYZ: torch.Tensor
    energy_B: torch.Tensor
    theta_B: torch.Tensor
    impact_mm_B2: torch.Tensor
    share: float = 1.0
    """Of the showers that all workers take in this step: the weight of a mean over this batch."""

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        return Batch(
            self.deposits_BXYZ.to(device),
            self.energy_B.to(device),
            self.theta_B.to(device),
            self.impact_mm_B2.to(device),
            self.share,
        )
