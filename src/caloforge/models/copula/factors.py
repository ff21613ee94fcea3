"""How the copula learns its factors: what is hidden is drawn, and running moments follow (online EM).

Latents of empty cells and factors are drawn from each other (a Gibbs sampler); their moments update running
ones, from which the loadings follow, with parameter expansion.

Sources: O. Cappe, E. Moulines, J. R. Stat. Soc. B 71 (2009) 593; C. Liu, D. B. Rubin, Y. N. Wu,
Biometrika 85 (1998) 755.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.models.copula.marginals import information, normal_cdf
from caloforge.models.copula.model import FactorCopula
from caloforge.models.shared.noise import Uniforms

__all__ = ["Latents", "expand_parameters", "learn_factors", "normal_below"]

SWEEPS = 6
"""Times that latents of empty cells and factors are drawn from each other in a step."""

UNLIMITED = 20.0

FORGETTING = 0.6
"""Step t weighs t to the power of minus this in the moments; between 0.5 and 1 online EM converges."""

FARTHER = 4.0
"""Largest over-relaxation of EM (R. Salakhutdinov, S. Roweis, ICML 2003)."""

LARGEST_SHARE = 0.4


@dataclass(frozen=True)
class Latents:
    """What a batch tells of its latents: those of hits and sums, and thresholds that those of empty cells are below."""

    threshold_BC: Tensor
    seen_BC: Tensor | None
    """0 where a cell lies outside the detector, 1 inside; None where all lie inside."""
    hit_BC: Tensor
    flat_H: Tensor
    """The cells that are hit, counted through (B, C)."""
    latents_H: Tensor
    sums_BM: Tensor


@torch.no_grad()
def expand_parameters(model: FactorCopula) -> None:
    """Rotate the factors so that their second moments are 1 again, which moves loadings at once to their size."""
    lower_KK = torch.linalg.cholesky(model.moments_factors.double())
    whiten_KK = torch.linalg.inv(lower_KK).T.float()
    for moments in (model.moments_core, model.moments_halo, model.moments_sums):
        moments.copy_(moments @ whiten_KK)
    model.moments_factors.copy_(torch.eye(model.factors))


@torch.no_grad()
def learn_factors(model: FactorCopula, latents: Latents) -> None:
    """Draw what is hidden given what is seen; move the moments towards this batch's."""
    loadings_CK, variance_C = model.cell_loadings()
    own_C = variance_C.sqrt()
    latent_BC, factors_BK = _draw(model, latents, loadings_CK, variance_C, own_C)
    count = len(latent_BC)
    second_KK = factors_BK.T @ factors_BK / count
    moments_CK = latent_BC.T @ factors_BK / count
    model.steps_seen += 1
    weight = float(model.steps_seen + 0.5) ** -FORGETTING
    # Where cells are rarely hit EM creeps: go farther, as far as what is seen of a latent allows.
    seen_of_latent_C = information(latents.threshold_BC).mean(0)
    farther_C = (1 / seen_of_latent_C).clamp(1, max(1.0, min(FARTHER, 1 / weight)))
    moments_CK += (farther_C - 1)[:, None] * (moments_CK - loadings_CK @ second_KK)
    core, halo = model.frame.project(moments_CK.view(-1, model.grid.n_layers, model.factors))
    sums_BM = latents.sums_BM
    model.moments_core.lerp_(core, weight)
    model.moments_halo.lerp_(halo, weight)
    model.moments_factors.lerp_(second_KK, weight)
    model.moments_sums.lerp_(sums_BM.T @ factors_BK / count, weight)
    model.covariance_sums.lerp_(sums_BM.T @ sums_BM / count, weight)
    _learn_neighbours(model, latents, loadings_CK, own_C, weight)


def _draw(
    model: FactorCopula, latents: Latents, loadings_CK: Tensor, variance_C: Tensor, own_C: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw all cells' latents (B, C) and the factors (B, K), by Gibbs sampling."""
    sum_loadings_MK, rest_MM = model.sum_loadings()
    weighted_CK = loadings_CK / variance_C[:, None]
    sums_weighted_MK = torch.linalg.solve(rest_MM, sum_loadings_MK)
    precision_KK = torch.eye(model.factors, device=own_C.device)
    precision_KK = precision_KK + loadings_CK.T @ weighted_CK + sum_loadings_MK.T @ sums_weighted_MK
    covariance_KK = torch.linalg.inv(precision_KK.double())
    spread_KK = torch.linalg.cholesky(covariance_KK).float()
    covariance_KK = covariance_KK.float()

    # Of cells out of sight the latents may be anything.
    limit_BC = latents.threshold_BC
    if latents.seen_BC is not None:
        limit_BC = limit_BC + UNLIMITED * (1 - latents.seen_BC)
    uniforms = Uniforms(int(torch.randint(1 << 62, ())), limit_BC)
    latent_BC = normal_below(limit_BC, limit_BC.new_zeros(()), limit_BC.new_ones(()), uniforms())
    for sweep in range(SWEEPS + 1):
        latent_BC.view(-1).index_copy_(0, latents.flat_H, latents.latents_H)
        if sweep == SWEEPS:
            break
        mean_BK = (latent_BC @ weighted_CK + latents.sums_BM @ sums_weighted_MK) @ covariance_KK
        factors_BK = mean_BK + torch.randn_like(mean_BK) @ spread_KK.T
        latent_BC = normal_below(limit_BC, factors_BK @ loadings_CK.T, own_C, uniforms())
    return latent_BC, factors_BK


def normal_below(limit: Tensor, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
    """Draw normal numbers that stay below a limit: the quantile of ``uniform`` times the chance of the limit.

    In place: most of a step's time goes by here.
    """
    twice_the_chance = (limit - mean).mul_(-(0.5**0.5) / spread).erfc_()
    latent = twice_the_chance.mul_(uniform).clamp_(2e-7, 2 - 2e-7).sub_(1).erfinv_()
    return latent.mul_(2**0.5 * spread).add_(mean)


def _learn_neighbours(
    model: FactorCopula, latents: Latents, loadings_CK: Tensor, own_C: Tensor, weight: float
) -> None:
    """Compare how often neighbours are hit together with showers made for the same conditions.

    Stochastic approximation: H. Robbins, S. Monro, Ann. Math. Stat. 22 (1951) 400.
    """
    frame, n_layers, threshold_BC = model.frame, model.grid.n_layers, latents.threshold_BC

    def by_layer(field_BC: Tensor) -> Tensor:
        return field_BC.view(len(field_BC), -1, n_layers).transpose(1, 2)

    share_ZO = model.neighbour_shares()
    noise_BZO = torch.randn(len(threshold_BC), *share_ZO.shape, device=share_ZO.device)
    noise_BZO += share_ZO * frame.beside(noise_BZO)
    noise_BZO *= by_layer(own_C[None]) * torch.rsqrt(frame.noise_variance(share_ZO))
    factors_BK = torch.randn(len(threshold_BC), model.factors, device=share_ZO.device)
    made_BZO = by_layer(factors_BK @ loadings_CK.T) + noise_BZO > by_layer(threshold_BC)
    chance_BZO = by_layer(normal_cdf(-threshold_BC))
    spread_BZO = torch.sqrt(chance_BZO * (1 - chance_BZO))
    visible_BZO = torch.ones_like(chance_BZO) if latents.seen_BC is None else by_layer(latents.seen_BC)

    def together_RZ(values_BZO: Tensor) -> Tensor:
        values_BZO = values_BZO * visible_BZO
        pairs_ZO = (values_BZO * frame.beside(values_BZO)).sum(0)
        rings_ZR = pairs_ZO.new_zeros(n_layers, frame.rings)
        rings_ZR.index_add_(1, frame.ring_O, pairs_ZO)
        return rings_ZR.T

    seen_RZ = together_RZ(by_layer(latents.hit_BC).float() - chance_BZO)
    made_RZ = together_RZ(made_BZO.float() - chance_BZO)
    excess_RZ = (seen_RZ - made_RZ) / (together_RZ(spread_BZO) + 1)
    model.neighbours_RZ.add_(weight * excess_RZ).clamp_(0, LARGEST_SHARE)
