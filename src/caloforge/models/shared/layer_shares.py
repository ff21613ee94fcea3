"""Energies of the layers as numbers without a scale: the total's share of the incident energy, and their shares of it."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SMALLEST_SHARE", "log_shares"]

SMALLEST_SHARE = 1e-5
"""Added to a layer's share of the deposit before its logarithm is taken: layers may be empty."""


def log_shares(deposits_BXYZ: Tensor, energy_B: Tensor) -> Tensor:
    """Return ln(total / energy) and the logarithms of the layers' shares of the total, (B, 1 + nz)."""
    layers_BZ = deposits_BXYZ.sum((1, 2))
    total_B1 = layers_BZ.sum(1, keepdim=True).clamp(min=1e-9)
    return torch.cat(
        [torch.log(total_B1 / energy_B[:, None]), torch.log(layers_BZ / total_B1 + SMALLEST_SHARE)],
        dim=1,
    )
