"""Marginals of cells and sums: a hurdle and a sinh-arcsinh distribution, and the latent normals that they give to data.

A latent normal is the standard normal number of which a marginal's quantile function makes the value. A cell
is hit where it exceeds a threshold.

Source: hurdle models, J. G. Cragg, Econometrica 39 (1971) 829.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.models.copula import sinh_arcsinh

__all__ = [
    "LOG_WIDTHS",
    "THRESHOLDS",
    "CellMarginals",
    "cell_likelihood",
    "latent_above",
    "normal_cdf",
    "normal_quantile",
    "standardise",
]

THRESHOLDS = (-5.0, 5.2)
LOG_WIDTHS = (-5.0, 3.0)

FARTHEST_LATENT = 4.0


@dataclass(frozen=True)
class CellMarginals:
    """Marginals of C cells in B showers: hit if the latent exceeds ``threshold``; of the scaled ln(deposit)."""

    threshold_BC: Tensor
    location_BC: Tensor
    log_width_BC: Tensor
    skew_C: Tensor
    log_tail_C: Tensor


def normal_cdf(latent: Tensor) -> Tensor:
    """Return the standard normal distribution function, with all its digits in the lower tail, unlike torch's."""
    return 0.5 * torch.erfc(latent * -(0.5**0.5))


def normal_quantile(probability: Tensor) -> Tensor:
    """Return the standard normal quantile, at most about 5.2 from zero."""
    return 2**0.5 * torch.erfinv(2 * probability.clamp(1e-7, 1 - 1e-7) - 1)


def latent_above(normal: Tensor, threshold: Tensor) -> Tensor:
    """Return the latent above ``threshold`` that is the same quantile there as ``normal`` is of a whole normal."""
    return -normal_quantile(normal_cdf(-normal) * normal_cdf(-threshold))


def standardise(values: Tensor, marginals: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return log densities of values under location, log width, skew and log tail, and their latents (detached)."""
    location, log_width, skew, log_tail = marginals
    standard = (values - location) * torch.exp(-log_width)
    density = sinh_arcsinh.log_density(standard, skew, log_tail) - log_width
    with torch.no_grad():
        latent = sinh_arcsinh.to_normal(standard, skew, log_tail)
    return density, latent.clamp(-FARTHEST_LATENT, FARTHEST_LATENT)


def cell_likelihood(
    marginals: CellMarginals, log_H: Tensor, log_slope_H: Tensor, seen_BC: Tensor | None, hits_H: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the log likelihood of all cells, nats a shower, and the latents of the hits (detached).

    ``hits_H`` counts through (B, C); ``log_H`` are their ln(deposit) on the common scale, which has the
    logarithmic slope ``log_slope_H``. Where ``seen_BC`` is 0 a cell lies outside the detector.
    """
    count, n_cells = marginals.threshold_BC.shape
    # An index's gradient is slow, index_select's is not.
    threshold_H, location_H, log_width_H = (
        values_BC.reshape(-1).index_select(0, hits_H)
        for values_BC in (marginals.threshold_BC, marginals.location_BC, marginals.log_width_BC)
    )
    cell_H = hits_H % n_cells
    skew_H, log_tail_H = (
        values_C.index_select(0, cell_H) for values_C in (marginals.skew_C, marginals.log_tail_C)
    )
    standard_H = (log_H - location_H) * torch.exp(-log_width_H)
    density_H = sinh_arcsinh.log_density(standard_H, skew_H, log_tail_H) - log_width_H + log_slope_H
    # Thresholds are bounded, so these are not zero.
    empty_BC = torch.log(normal_cdf(marginals.threshold_BC))
    if seen_BC is not None:
        empty_BC = empty_BC * seen_BC
    hurdle_H = torch.log(normal_cdf(-threshold_H)) - torch.log(normal_cdf(threshold_H))
    likelihood = empty_BC.sum() + (density_H + hurdle_H).sum()
    with torch.no_grad():
        latent_H = latent_above(sinh_arcsinh.to_normal(standard_H, skew_H, log_tail_H), threshold_H)
    return likelihood / count, latent_H
