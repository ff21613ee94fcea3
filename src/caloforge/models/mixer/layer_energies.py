"""Energies of the layers as latent normals: marginals fitted in closed form, there and back.

The logarithms of the total deposit's share of the incident energy and of the layers' shares of the total have
means and widths that are polynomials of the conditions, and tables of quantiles of what is left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.models.shared.layer_shares import SMALLEST_SHARE

__all__ = [
    "FARTHEST",
    "FEATURES",
    "KNOTS",
    "energy_features",
    "layer_energies",
    "standard_quantiles",
    "to_normals",
]

KNOTS, FARTHEST = 41, 3.2
"""Normal numbers between which quantiles are interpolated."""

STEP = 2 * FARTHEST / (KNOTS - 1)

FEATURES = 3
"""Polynomials of the energy, the constant among them."""


def energy_features(energy_B: Tensor, spectrum_2: Tensor) -> Tensor:
    """Return 1 and polynomials of ln(energy), (B, F)."""
    e = (torch.log(energy_B) - spectrum_2[0]) / spectrum_2[1]
    return torch.stack([torch.ones_like(e), e, (e * e - 1) / 2**0.5], dim=1)


def standard_quantiles(normals_BM: Tensor, quantiles_KM: Tensor) -> Tensor:
    """Return the quantiles (B, M) that normal numbers stand for, from a table at equal steps of these."""
    knot = ((normals_BM.detach() + FARTHEST) / STEP).long().clamp(0, KNOTS - 2)
    low, high = quantiles_KM.gather(0, knot), quantiles_KM.gather(0, knot + 1)
    return low + (high - low) * ((normals_BM + FARTHEST) / STEP - knot)


def to_normals(standard_BM: Tensor, quantiles_KM: Tensor) -> Tensor:
    """Undo :func:`standard_quantiles`, at most 5 from zero."""
    table_MK = quantiles_KM.T.contiguous()
    knot = torch.searchsorted(table_MK, standard_BM.T.contiguous()).sub(1).clamp(0, KNOTS - 2)
    low, high = table_MK.gather(1, knot), table_MK.gather(1, knot + 1)
    within = (standard_BM.T - low) / (high - low).clamp(min=1e-6)
    return ((knot + within).T * STEP - FARTHEST).clamp(-5, 5)


def layer_energies(values_BM: Tensor, energy_B: Tensor) -> Tensor:
    """Turn ln(total / energy) and the layers' log shares into the layers' energies (B, nz) in MeV."""
    share_BZ = (torch.exp(values_BM[:, 1:].clamp(max=0)) - SMALLEST_SHARE).clamp(min=0)
    total_B = energy_B * torch.exp(values_BM[:, 0].clamp(max=0))
    return share_BZ * (total_B / share_BZ.sum(1).clamp(min=SMALLEST_SHARE))[:, None]
