"""Maximum likelihood for the factor copula: its laws by gradient, its factors by online EM."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caloforge.foundations.errors import UsageError
from caloforge.models.copula import sinh_arcsinh
from caloforge.models.copula.axis_frame import STEEPEST_RAD
from caloforge.models.copula.model import (
    CellLaws,
    FactorCopula,
    depth,
    log_shares,
    normal_cdf,
    normal_quantile,
    places,
    score_above,
)
from caloforge.models.objective import LossStep
from caloforge.models.shared.noise import Uniforms
from caloforge.showers.batch import Batch

__all__ = ["LikelihoodObjective", "normal_below"]

SWEEPS = 6
"""Times that scores of empty cells and factors are drawn from each other in a step."""

UNLIMITED = 20.0

FORGETTING = 0.6
"""Step t weighs t to the power of minus this in the moments; between 0.5 and 1 online EM converges."""

FARTHER = 4.0
"""Largest over-relaxation of EM (R. Salakhutdinov, S. Roweis, ICML 2003)."""

LARGEST_SHARE = 0.4

BEYOND_LARGEST = 0.3
"""Deposits may exceed the largest that was seen at their distance by this, in ln."""

FARTHEST_SCORE = 4.0

CONDITION_SPREAD, SHAPE_SPREAD = 0.7, 0.3
"""Standard deviations of the prior of coefficients: rarely hit cells would else believe in their few hits."""


@dataclass(frozen=True)
class Hits:
    """The cells that are hit: as a mask, as H places in it counted through, and their normal scores."""

    true_BC: Tensor
    places_H: Tensor
    scores_H: Tensor


class LikelihoodObjective:
    """Minimises minus the log likelihood of each cell and each layer sum given the conditions.

    The scores that the laws give to a batch are then explained by the factors: empty cells' scores and the
    factors are drawn from each other (a Gibbs sampler), and their moments update running ones, from
    which the loadings follow (online EM with parameter expansion).

    Sources: O. Cappe, E. Moulines, J. R. Stat. Soc. B 71 (2009) 593; C. Liu, D. B. Rubin, Y. N. Wu,
    Biometrika 85 (1998) 755; margins first, then the copula: H. Joe, J. Multivar. Anal. 94 (2005) 401.
    """

    def __init__(self, model: FactorCopula, showers: Batch, n_showers: int) -> None:
        """Begin with the moments of some ``showers`` out of ``n_showers``. Raises UsageError for steeper angles."""
        self.model, self._n_showers = model, n_showers
        self.networks: Mapping[str, nn.Module] = {"generator": model}
        tilt_B = (showers.theta_B - math.pi / 2).abs()
        if model.conditioned_on_angle and float(tilt_B.max()) > math.pi / 2 - STEEPEST_RAD + 1e-3:
            steepest = math.degrees(STEEPEST_RAD)
            raise UsageError(
                f"data: copula-angle follows showers at {steepest:.0f} to {180 - steepest:.0f} degrees to the face, "
                f"got one at {math.degrees(float(showers.theta_B[tilt_B.argmax()])):.1f}"
            )
        _begin(model, showers)

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """Make an Adam: the fields' coefficients have gradients of very different sizes."""
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.9, 0.99))

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        """Yield one loss: nats a shower."""
        model = self.model
        _expand_parameters(model)
        place = model.frame.place(batch.theta_B, batch.impact_mm_B2)
        given_BJ = model.energy_and_angle(batch.energy_B, batch.theta_B)
        depth_loss, depth_B = self._depth(batch, given_BJ)
        monomials_BZF = model.conditions(batch.energy_B, batch.theta_B, place, depth_B)
        laws = model.laws(monomials_BZF)
        deposits_BC, seen_BC = batch.deposits_BXYZ.flatten(1), None
        if model.conditioned_on_angle:
            cells_BC, empty_BC = model.frame.cells(place), torch.zeros_like(laws.threshold_BC)
            deposits_BC = empty_BC.scatter(1, cells_BC, deposits_BC)
            seen_BC = empty_BC.scatter(1, cells_BC, 1.0)
        hits_H = places(deposits_BC > 0)
        log_H, log_slope_H = model.energy_scale(torch.log(deposits_BC.view(-1)[hits_H]))
        cell_loss, hit_scores_H = _cells(laws, log_H, log_slope_H, seen_BC, hits_H)
        sum_loss, sum_scores_BM = self._sums(batch, monomials_BZF[:, 0], given_BJ)
        with torch.no_grad():
            hits = Hits(deposits_BC > 0, hits_H, hit_scores_H)
            self._learn_factors(laws.threshold_BC, seen_BC, hits, sum_scores_BM)
        sum_loss = sum_loss + depth_loss
        terms = {"generator.cells": cell_loss.detach(), "generator.layers": sum_loss.detach()}
        yield LossStep("generator", cell_loss + sum_loss + self._prior() / self._n_showers, terms)

    def _prior(self) -> Tensor:
        """Minus the log of a normal prior: conditions matter little, shapes are normal, unless showers say so."""
        model, end = self.model, 3 * self.model.monomials
        varying = [model.sum_location[1:], model.sum_log_width[1:], model.depth_laws[:2, 1:]]
        shapes = [model.sum_skew, model.sum_log_tail, model.depth_laws[2:]]
        for laws in (model.core, model.halo):
            by_monomial = laws[..., :end].reshape(*laws.shape[:2], 3, model.monomials)
            varying.append(by_monomial[..., 1:])
            shapes.append(laws[..., end:])
        nats = 0.5 * model.energy_scale.log_slope.square().sum()
        for spread, numbers in ((CONDITION_SPREAD, varying), (SHAPE_SPREAD, shapes)):
            nats = nats + sum((some**2).sum() for some in numbers) / (2 * spread**2)
        return nats

    def _depth(self, batch: Batch, given_BJ: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus the log likelihood of the depths, nats a shower, and their scores (detached)."""
        density_B, score_B = _standardise(depth(batch.deposits_BXYZ), self.model.depth_law(given_BJ))
        return -density_B.mean(), score_B

    def _sums(self, batch: Batch, monomials_BF: Tensor, given_BJ: Tensor) -> tuple[Tensor, Tensor]:
        """Return minus the log likelihood of total and shares, and their scores (detached)."""
        values_BM = log_shares(batch.deposits_BXYZ, batch.energy_B)
        density_BM, score_BM = _standardise(values_BM, self.model.sum_laws(monomials_BF, given_BJ))
        return -density_BM.sum(1).mean(), score_BM

    def _learn_factors(
        self,
        threshold_BC: Tensor,
        seen_BC: Tensor | None,
        hits: Hits,
        sum_scores_BM: Tensor,
    ) -> None:
        """Draw what is hidden given what is seen; move the moments towards this batch's."""
        model = self.model
        loadings_CK, variance_C = model.cell_loadings()
        sum_loadings_MK, rest_MM = model.sum_loadings()
        weighted_CK, own_C = loadings_CK / variance_C[:, None], variance_C.sqrt()
        sums_weighted_MK = torch.linalg.solve(rest_MM, sum_loadings_MK)
        precision_KK = torch.eye(model.factors, device=own_C.device)
        precision_KK = precision_KK + loadings_CK.T @ weighted_CK + sum_loadings_MK.T @ sums_weighted_MK
        covariance_KK = torch.linalg.inv(precision_KK.double())
        spread_KK = torch.linalg.cholesky(covariance_KK).float()
        covariance_KK = covariance_KK.float()

        # Of cells out of sight the scores may be anything.
        limit_BC = threshold_BC if seen_BC is None else threshold_BC + UNLIMITED * (1 - seen_BC)
        uniforms = Uniforms(int(torch.randint(1 << 62, ())), limit_BC)
        score_BC = normal_below(limit_BC, limit_BC.new_zeros(()), limit_BC.new_ones(()), uniforms())
        for sweep in range(SWEEPS + 1):
            score_BC.view(-1).index_copy_(0, hits.places_H, hits.scores_H)
            if sweep == SWEEPS:
                break
            mean_BK = (score_BC @ weighted_CK + sum_scores_BM @ sums_weighted_MK) @ covariance_KK
            factors_BK = mean_BK + torch.randn_like(mean_BK) @ spread_KK.T
            common_BC = factors_BK @ loadings_CK.T
            score_BC = normal_below(limit_BC, common_BC, own_C, uniforms())

        second_KK = factors_BK.T @ factors_BK / len(score_BC)
        moments_CK = score_BC.T @ factors_BK / len(score_BC)
        count = len(score_BC)
        model.steps_seen += 1
        weight = float(model.steps_seen + 0.5) ** -FORGETTING
        # Where cells are rarely hit EM creeps: go farther, as far as what is seen of a score allows.
        seen_of_score_C = _information(threshold_BC).mean(0)
        farther_C = (1 / seen_of_score_C).clamp(1, max(1.0, min(FARTHER, 1 / weight)))
        moments_CK += (farther_C - 1)[:, None] * (moments_CK - loadings_CK @ second_KK)
        core, halo = model.frame.project(moments_CK.view(-1, model.grid.n_layers, model.factors))
        model.moments_core.lerp_(core, weight)
        model.moments_halo.lerp_(halo, weight)
        model.moments_factors.lerp_(second_KK, weight)
        model.moments_sums.lerp_(sum_scores_BM.T @ factors_BK / count, weight)
        model.covariance_sums.lerp_(sum_scores_BM.T @ sum_scores_BM / count, weight)
        self._learn_neighbours(threshold_BC, seen_BC, hits.true_BC, loadings_CK, own_C, weight)

    def _learn_neighbours(
        self,
        threshold_BC: Tensor,
        seen_BC: Tensor | None,
        true_BC: Tensor,
        loadings_CK: Tensor,
        own_C: Tensor,
        weight: float,
    ) -> None:
        """Compare how often neighbours are hit together with showers made for the same conditions.

        Stochastic approximation: H. Robbins, S. Monro, Ann. Math. Stat. 22 (1951) 400.
        """
        model, frame, n_layers = self.model, self.model.frame, self.model.grid.n_layers

        def by_layer(field_BC: Tensor) -> Tensor:
            return field_BC.view(len(field_BC), -1, n_layers).transpose(1, 2)

        share_ZO = model.neighbour_shares()
        noise_BZO = torch.randn(len(true_BC), *share_ZO.shape, device=share_ZO.device)
        noise_BZO += share_ZO * frame.beside(noise_BZO)
        noise_BZO *= by_layer(own_C[None]) * torch.rsqrt(frame.noise_variance(share_ZO))
        factors_BK = torch.randn(len(true_BC), model.factors, device=share_ZO.device)
        made_BZO = by_layer(factors_BK @ loadings_CK.T) + noise_BZO > by_layer(threshold_BC)
        chance_BZO = by_layer(normal_cdf(-threshold_BC))
        spread_BZO = torch.sqrt(chance_BZO * (1 - chance_BZO))
        visible_BZO = torch.ones_like(chance_BZO) if seen_BC is None else by_layer(seen_BC)

        def together_RZ(values_BZO: Tensor) -> Tensor:
            values_BZO = values_BZO * visible_BZO
            pairs_ZO = (values_BZO * frame.beside(values_BZO)).sum(0)
            rings_ZR = pairs_ZO.new_zeros(n_layers, frame.rings)
            rings_ZR.index_add_(1, frame.ring_O, pairs_ZO)
            return rings_ZR.T

        seen_RZ = together_RZ(by_layer(true_BC).float() - chance_BZO)
        made_RZ = together_RZ(made_BZO.float() - chance_BZO)
        excess_RZ = (seen_RZ - made_RZ) / (together_RZ(spread_BZO) + 1)
        model.neighbours_RZ.add_(weight * excess_RZ).clamp_(0, LARGEST_SHARE)


def normal_below(limit: Tensor, mean: Tensor, spread: Tensor, uniform: Tensor) -> Tensor:
    """Draw normal numbers that stay below a limit: the quantile of ``uniform`` times the chance of the limit.

    In place: most of a step's time goes by here.
    """
    twice_the_chance = (limit - mean).mul_(-(0.5**0.5) / spread).erfc_()
    score = twice_the_chance.mul_(uniform).clamp_(2e-7, 2 - 2e-7).sub_(1).erfinv_()
    return score.mul_(2**0.5 * spread).add_(mean)


def _standardise(values: Tensor, laws: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return log densities of values under their laws, and the normal scores (detached)."""
    location, log_width, skew, log_tail = laws
    standard = (values - location) * torch.exp(-log_width)
    density = sinh_arcsinh.log_density(standard, skew, log_tail) - log_width
    with torch.no_grad():
        score = sinh_arcsinh.to_normal(standard, skew, log_tail)
    return density, score.clamp(-FARTHEST_SCORE, FARTHEST_SCORE)


def _cells(
    laws: CellLaws, log_H: Tensor, log_slope_H: Tensor, seen_BC: Tensor | None, hits_H: Tensor
) -> tuple[Tensor, Tensor]:
    """Return minus the log likelihood of the cells, nats a shower, and the scores of the hits (detached)."""
    count, n_cells = laws.threshold_BC.shape
    # An index's gradient is slow, index_select's is not.
    threshold_H, location_H, log_width_H = (
        law_BC.reshape(-1).index_select(0, hits_H)
        for law_BC in (laws.threshold_BC, laws.location_BC, laws.log_width_BC)
    )
    cell_H = hits_H % n_cells
    skew_H, log_tail_H = (law_C.index_select(0, cell_H) for law_C in (laws.skew_C, laws.log_tail_C))
    standard_H = (log_H - location_H) * torch.exp(-log_width_H)
    density_H = sinh_arcsinh.log_density(standard_H, skew_H, log_tail_H) - log_width_H + log_slope_H
    # Thresholds are bounded, so these are not zero.
    empty_BC = torch.log(normal_cdf(laws.threshold_BC))
    if seen_BC is not None:
        empty_BC = empty_BC * seen_BC
    hurdle_H = torch.log(normal_cdf(-threshold_H)) - torch.log(normal_cdf(threshold_H))
    likelihood = empty_BC.sum() + (density_H + hurdle_H).sum()
    with torch.no_grad():
        score_H = score_above(sinh_arcsinh.to_normal(standard_H, skew_H, log_tail_H), threshold_H)
    return -likelihood / count, score_H


def _information(threshold_BC: Tensor) -> Tensor:
    """How much of what a normal score tells of its mean is left if one knows only whether it exceeds a threshold."""
    chance_BC = normal_cdf(threshold_BC)
    density_BC = torch.exp(-0.5 * threshold_BC * threshold_BC) / math.sqrt(2 * math.pi)
    seen_BC: Tensor = density_BC * density_BC / (chance_BC * (1 - chance_BC))
    return seen_BC


@torch.no_grad()
def _expand_parameters(model: FactorCopula) -> None:
    """Turn the factors so that their second moments are 1 again, which moves loadings at once to their size."""
    lower_KK = torch.linalg.cholesky(model.moments_factors.double())
    turn_KK = torch.linalg.inv(lower_KK).T.float()
    for moments in (model.moments_core, model.moments_halo, model.moments_sums):
        moments.copy_(moments @ turn_KK)
    model.moments_factors.copy_(torch.eye(model.factors))


@torch.no_grad()
def _begin(model: FactorCopula, showers: Batch) -> None:
    """Set the laws to moments of some showers: far cells share theirs with others at their distance."""
    frame, n_layers = model.frame, model.grid.n_layers
    log_energy_B = torch.log(showers.energy_B)
    model.spectrum_2.copy_(torch.stack([log_energy_B.mean(), log_energy_B.std().clamp(min=1e-3)]))
    model.slope_spread.copy_(frame.slope(showers.theta_B).square().mean().sqrt().clamp(min=1e-3))
    impact_B2 = showers.impact_mm_B2
    model.impact_span_22.copy_(torch.stack([impact_B2.amin(0), impact_B2.amax(0)]))
    size = frame.window[0] * frame.window[1] * n_layers
    sums_4C, largest_C = torch.zeros(4, size), torch.zeros(size)
    for part in range(0, len(showers.energy_B), 50):
        rows = slice(part, part + 50)
        deposits_BC = showers.deposits_BXYZ[rows].flatten(1)
        place = frame.place(showers.theta_B[rows], impact_B2[rows])
        cells_BC = (
            frame.cells(place)
            if model.conditioned_on_angle
            else torch.arange(size).expand_as(deposits_BC)
        )
        largest_C.scatter_reduce_(0, cells_BC.flatten(), deposits_BC.flatten(), "amax")
        log_BC = torch.log(deposits_BC.clamp(min=1e-30))
        log_BC = torch.where(deposits_BC > 0, log_BC, 0.0)
        for total_C, values in zip(
            sums_4C, (torch.ones_like(log_BC), (deposits_BC > 0).float(), log_BC, log_BC**2), strict=True
        ):
            total_C.index_add_(0, cells_BC.flatten(), values.flatten())
    seen, hits, first, second = _by_rings(sums_4C.view(4, -1, n_layers), frame.radius)
    # A prior of two hits of 0.3 MeV, where there are none.
    probability = ((hits + 0.5) / (seen + 1)).clamp(1e-6, 1 - 1e-4)
    location = (first - 2.4) / (hits + 2)
    mean = first / hits.clamp(min=1)
    variance = (second - hits * mean**2 + 4.5) / (hits + 3)
    field = torch.stack(
        [-normal_quantile(probability), location, 0.5 * torch.log(variance.clamp(min=0.01))], -1
    )
    core, halo = frame.project(field)
    constants = [k * model.monomials for k in range(3)]
    model.core[..., constants], model.halo[..., constants] = core, halo
    largest_O = largest_C.view(-1, n_layers).amax(1)
    largest_R = torch.zeros(frame.rings).scatter_reduce_(0, frame.ring_O, largest_O, "amax")
    # So few showers do not hold the largest, and rings few of them.
    around_R = torch.nn.functional.max_pool1d(largest_R[None], 3, stride=1, padding=1)[0]
    model.largest_R.copy_(torch.log(around_R.clamp(min=1.0)) + BEYOND_LARGEST)
    depth_B = depth(showers.deposits_BXYZ)
    model.depth_laws[:2, 0] = torch.stack([depth_B.mean(), torch.log(depth_B.std().clamp(min=1e-3))])
    values_BM = log_shares(showers.deposits_BXYZ, showers.energy_B)
    model.sum_location[0] = values_BM.mean(0)
    model.sum_log_width[0] = torch.log(values_BM.std(0).clamp(min=1e-3))


def _by_rings(sums_4OZ: Tensor, radius_O: object) -> Tensor:
    """Add up sums over cells at the same distance, far from the axis also over neighbouring layers."""
    distance_O = torch.as_tensor(radius_O, dtype=torch.float32)
    ring_O = torch.round(2 * distance_O).long()
    rings_4RZ = torch.zeros(4, int(ring_O.max()) + 1, sums_4OZ.shape[2]).index_add_(1, ring_O, sums_4OZ)
    padded = torch.nn.functional.pad(rings_4RZ, (1, 1), mode="replicate")
    wide = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    far_O1 = (distance_O > 6)[:, None]
    return torch.where(far_O1, wide[:, ring_O], rings_4RZ[:, ring_O])
