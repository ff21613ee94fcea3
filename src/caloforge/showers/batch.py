"""A batch of real showers, as tensors to learn from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from caloforge.showers.conditions import ELECTRON, IN_Y_Z

__all__ = ["Batch"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Showers to learn from: deposits (B, nx, ny, nz) and energies (B,) in MeV, angles (B,) in rad.

    Impact points (B, 2) are in mm from the central cell's centre, and zero where they are not known. Azimuths
    ``phi_B`` (rad) and the primaries' PDG ids ``pdg_B`` (int64) may be left out: pi/2, electrons.
    """

    deposits_BXYZ: torch.Tensor
    energy_B: torch.Tensor
    theta_B: torch.Tensor
    impact_mm_B2: torch.Tensor
    share: float = 1.0
    """Of the showers that all workers take in this step: the weight of a mean over this batch."""
    phi_B: torch.Tensor = None  # type: ignore[assignment]  # never None once it is made
    pdg_B: torch.Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        usual = {"phi_B": (IN_Y_Z, self.theta_B.dtype), "pdg_B": (ELECTRON, torch.int64)}
        for name, (value, dtype) in usual.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, torch.full_like(self.theta_B, value, dtype=dtype))

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if name != "share"}
        return replace(self, **tensors)
