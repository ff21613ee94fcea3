"""How the copula learns its correlations: what is hidden is drawn, then loadings follow the likelihood's gradient.

Latents of empty cells and factors are drawn from each other (a Gibbs sampler). With the former in place the cells'
latents are jointly normal, and the likelihood of their loadings, factors integrated out, has a closed form (stochastic
EM, whose other step is one of the optimizer). Moments of total and shares, which are seen whole, are running means.
A shower counts for one of the two energies around its own, drawn so that on average it counts for both as it should.

Sources: G. Celeux, J. Diebolt, Comput. Stat. Q. 2 (1985) 73; M. E. Tipping, C. M. Bishop, J. R. Stat. Soc. B 61
(1999) 611, for the likelihood.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from caloforge.models.copula.correlations import CellLoadings, Correlations, SumLoadings
from caloforge.models.copula.marginals import normal_cdf
from caloforge.models.copula.model import FactorCopula
from caloforge.models.shared.noise import Uniforms

__all__ = ["Told", "factor_loss", "learn_factors", "normal_below"]

SWEEPS = 4
"""Times that latents of empty cells and factors are drawn from each other in a step."""

FAR_ONE_OF, NEIGHBOURS_EVERY = 2, 4
"""A step looks at one far cell of so many, which are alike; and at neighbours once in so many steps."""

UNLIMITED = 20.0

FORGETTING, BEFORE = 0.6, 10
"""Step t weighs (t + 10) to the power of minus 0.6 in running means."""

LARGEST_SHARE = 0.4


class Told(NamedTuple):
    """What a batch tells of the latents of N cells: those of hits, thresholds that those of empty cells are below, and sums'."""

    threshold_BN: Tensor
    seen_BN: Tensor | None
    """0 where a cell lies outside the detector, 1 inside; None where all lie inside."""
    flat_H: Tensor
    """The cells that are hit, counted through (B, N)."""
    latents_H: Tensor
    sums_BM: Tensor
    near_B: Tensor
    """The number of the energy that a shower counts for."""

    def of(self, cells_N: Tensor) -> Told:
        """Return what it tells of some cells."""
        size = self.threshold_BN.shape[1]
        place_C = torch.full((size,), -1, device=cells_N.device)
        place_C[cells_N] = torch.arange(len(cells_N), device=cells_N.device)
        shower_H = self.flat_H // size
        place_H = place_C[self.flat_H - shower_H * size]
        kept_H = place_H >= 0
        return self._replace(
            threshold_BN=self.threshold_BN[:, cells_N],
            seen_BN=None if self.seen_BN is None else self.seen_BN[:, cells_N],
            flat_H=(shower_H * len(cells_N) + place_H)[kept_H],
            latents_H=self.latents_H[kept_H],
        )


def learn_factors(model: FactorCopula, told: Told) -> Tensor:
    """Draw what is hidden given what is seen, and move the running means; return minus the log likelihood of the loadings.

    In nats a shower, without what does not depend on them.
    """
    correlations = model.correlations
    correlations.steps_seen += 1
    weight = float(correlations.steps_seen + BEFORE) ** -FORGETTING
    loadings, sums = model.cell_loadings(), correlations.of_sums()
    if int(correlations.steps_seen) % NEIGHBOURS_EVERY == 0:
        _learn_neighbours(model, told, loadings, weight)
    cells_N = _some_cells(model)
    told, loadings = told.of(cells_N), loadings.of(cells_N)
    latent_BN, factors_BK = _draw(told, loadings, sums)
    _learn_sums(correlations, told, factors_BK, weight)
    return factor_loss(told, loadings, sums, latent_BN)


def factor_loss(told: Told, cells: CellLoadings, sums: SumLoadings, latent_BN: Tensor) -> Tensor:
    """Return minus the log likelihood of latents (B, N) and sums, factors integrated out, nats a shower."""
    near_B, own_BN = told.near_B, cells.own_QN[told.near_B]
    root_QKK = _precision_roots(cells, sums)
    told_BK = _pull(told, cells, sums, latent_BN)
    explained_BK = torch.linalg.solve_triangular(
        root_QKK[near_B], told_BK.double()[..., None], upper=False
    )
    log_size_Q = 2 * torch.log(root_QKK.diagonal(dim1=1, dim2=2)).sum(1)
    squares_B = (latent_BN**2 / own_BN).sum(1) - explained_BK.square().sum((1, 2))
    nats: Tensor = 0.5 * (squares_B + torch.log(own_BN).sum(1) + log_size_Q[near_B]).mean()
    return nats.float()


def _some_cells(model: FactorCopula) -> Tensor:
    """Choose all cells near the axis and some of the others at random."""
    inner, outer, n_layers = model.frame.inner, model.frame.outer, model.grid.n_layers
    chosen = outer[torch.randperm(len(outer), device=outer.device)[: -(-len(outer) // FAR_ONE_OF)]]
    layers_Z = torch.arange(n_layers, device=inner.device)
    return (torch.cat([inner, chosen])[:, None] * n_layers + layers_Z).flatten()


@torch.no_grad()
def _learn_sums(correlations: Correlations, told: Told, factors_BK: Tensor, weight: float) -> None:
    """Move the moments of total and shares at each energy: by as much as there are showers near it."""
    at_BQ = one_hot(told.near_B, len(correlations.energies_Q)).float()
    near_Q = at_BQ.sum(0)
    mean_BQ = at_BQ / near_Q.clamp(min=1)
    weight_Q11 = weight * (near_Q / len(factors_BK) * len(near_Q)).clamp(max=1)[:, None, None]
    with_factors_QMK = torch.einsum("bq,bm,bk->qmk", mean_BQ, told.sums_BM, factors_BK)
    correlations.sums_QMK.lerp_(with_factors_QMK, weight_Q11)
    squares_QMM = torch.einsum("bq,bm,bn->qmn", mean_BQ, told.sums_BM, told.sums_BM)
    correlations.covariance_QMM.lerp_(squares_QMM, weight_Q11)


@torch.no_grad()
def _draw(told: Told, cells: CellLoadings, sums: SumLoadings) -> tuple[Tensor, Tensor]:
    """Draw the cells' latents (B, N) and the factors (B, K), by Gibbs sampling."""
    near_B, loadings_NK = told.near_B, cells.loadings_NK
    root_BKK = _precision_roots(cells, sums)[near_B]
    amplitude_BN, spread_BN = cells.amplitude_QN[near_B], cells.own_QN[near_B].sqrt()

    # Of cells out of sight the latents may be anything.
    limit_BN = told.threshold_BN
    if told.seen_BN is not None:
        limit_BN = limit_BN + UNLIMITED * (1 - told.seen_BN)
    uniforms = Uniforms(int(torch.randint(1 << 62, ())), limit_BN)
    latent_BN = normal_below(limit_BN, limit_BN.new_zeros(()), limit_BN.new_ones(()), uniforms())
    for sweep in range(SWEEPS + 1):
        latent_BN.view(-1).index_copy_(0, told.flat_H, told.latents_H)
        if sweep == SWEEPS:
            break
        told_BK = _pull(told, cells, sums, latent_BN).double()
        mean_BK1 = torch.cholesky_solve(told_BK[..., None], root_BKK)
        noise_BK1 = torch.linalg.solve_triangular(root_BKK.mT, torch.randn_like(mean_BK1), upper=True)
        factors_BK = (mean_BK1 + noise_BK1)[..., 0].float()
        mean_BN = amplitude_BN * (factors_BK @ loadings_NK.T)
        latent_BN = normal_below(limit_BN, mean_BN, spread_BN, uniforms())
    return latent_BN, factors_BK


def _pull(told: Told, cells: CellLoadings, sums: SumLoadings, latent_BN: Tensor) -> Tensor:
    """Return what cells and sums tell of the factors (B, K): their precision times their mean."""
    weight_QN = cells.amplitude_QN / cells.own_QN
    weighted_QMK = torch.linalg.solve(sums.rest_QMM, sums.loadings_QMK)
    from_sums_BK = torch.einsum("bm,bmk->bk", told.sums_BM, weighted_QMK[told.near_B])
    return (latent_BN * weight_QN[told.near_B]) @ cells.loadings_NK + from_sums_BK


def _precision_roots(cells: CellLoadings, sums: SumLoadings) -> Tensor:
    """Return Cholesky roots (Q, K, K), in double precision, of the factors' precision given cells and sums."""
    loadings_NK, weighted_QMK = cells.loadings_NK, torch.linalg.solve(sums.rest_QMM, sums.loadings_QMK)
    weight_QN = cells.amplitude_QN**2 / cells.own_QN
    told_QKK = torch.stack([loadings_NK.T @ (weight_N[:, None] * loadings_NK) for weight_N in weight_QN])
    told_QKK = told_QKK + sums.loadings_QMK.mT @ weighted_QMK
    one_KK = torch.eye(told_QKK.shape[1], device=told_QKK.device)
    root_QKK: Tensor = torch.linalg.cholesky((told_QKK + one_KK).double())
    return root_QKK


def normal_below(limit: Tensor, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
    """Draw normal numbers that stay below a limit: the quantile of ``uniform`` times the chance of the limit.

    In place: most of a step's time goes by here.
    """
    twice_the_chance = (limit - mean).mul_(-(0.5**0.5) / spread).erfc_()
    latent = twice_the_chance.mul_(uniform).clamp_(2e-7, 2 - 2e-7).sub_(1).erfinv_()
    return latent.mul_(2**0.5 * spread).add_(mean)


@torch.no_grad()
def _learn_neighbours(model: FactorCopula, told: Told, loadings: CellLoadings, weight: float) -> None:
    """Compare how often neighbours are hit together with showers made for the same conditions.

    Stochastic approximation: H. Robbins, S. Monro, Ann. Math. Stat. 22 (1951) 400.
    """
    frame, n_layers, threshold_BC = model.frame, model.grid.n_layers, told.threshold_BN

    def by_layer(field_BC: Tensor) -> Tensor:
        return field_BC.view(len(field_BC), -1, n_layers).transpose(1, 2)

    share_ZO = model.neighbour_shares()
    noise_BZO = torch.randn(len(threshold_BC), *share_ZO.shape, device=share_ZO.device)
    noise_BZO += share_ZO * frame.beside(noise_BZO)
    noise_BZO *= by_layer(loadings.own_QN[told.near_B].sqrt())
    noise_BZO *= torch.rsqrt(frame.noise_variance(share_ZO))
    factors_BK = torch.randn(len(threshold_BC), model.factors, device=share_ZO.device)
    common_BC = loadings.amplitude_QN[told.near_B] * (factors_BK @ loadings.loadings_NK.T)
    made_BZO = by_layer(common_BC) + noise_BZO > by_layer(threshold_BC)
    hit_BC = torch.zeros_like(threshold_BC)
    hit_BC.view(-1).index_fill_(0, told.flat_H, 1.0)
    chance_BZO = by_layer(normal_cdf(-threshold_BC))
    spread_BZO = torch.sqrt(chance_BZO * (1 - chance_BZO))
    visible_BZO = torch.ones_like(chance_BZO) if told.seen_BN is None else by_layer(told.seen_BN)

    def together_RZ(values_BZO: Tensor) -> Tensor:
        values_BZO = values_BZO * visible_BZO
        pairs_ZO = (values_BZO * frame.beside(values_BZO)).sum(0)
        rings_ZR = pairs_ZO.new_zeros(n_layers, frame.rings)
        rings_ZR.index_add_(1, frame.ring_O, pairs_ZO)
        return rings_ZR.T

    seen_RZ = together_RZ(by_layer(hit_BC) - chance_BZO)
    made_RZ = together_RZ(made_BZO.float() - chance_BZO)
    excess_RZ = (seen_RZ - made_RZ) / (together_RZ(spread_BZO) + 1)
    model.correlations.neighbours_RZ.add_(weight * excess_RZ).clamp_(0, LARGEST_SHARE)
