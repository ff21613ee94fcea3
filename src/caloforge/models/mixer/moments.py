"""How a mixer begins: what has a closed form, from moments of some showers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

from caloforge.models.mixer.layer_energies import FARTHEST, KNOTS
from caloforge.models.mixer.model import LEVELS, SMALLEST_LAYER_MEV, Mixer
from caloforge.models.shared.layer_shares import log_shares
from caloforge.showers.batch import Batch

__all__ = ["begin"]

UNIT = 0.4
"""Of the median deposit: the unit in which ln(1 + deposit / unit) of hits looks like half a normal distribution."""

RARE, PRIOR_HITS = 0.2, 5.0
POWERS, QUANTILES = 24, 48


@torch.no_grad()
def begin(model: Mixer, showers: Batch) -> None:
    """Fit what has a closed form to real showers."""
    log_energy_B = torch.log(showers.given.energy_B)
    model.spectrum_2.copy_(torch.stack([log_energy_B.mean(), log_energy_B.std().clamp(min=1e-3)]))
    hits_H = showers.deposits_BXYZ[showers.deposits_BXYZ > 0]
    model.unit_MeV.copy_(UNIT * hits_H.median() if len(hits_H) else model.unit_MeV)
    values_BM = log_shares(showers.deposits_BXYZ, showers.given.energy_B)
    _begin_layers(model, values_BM, model.features(showers.given.energy_B))
    _begin_cells(model, showers.deposits_BXYZ)


def _begin_layers(model: Mixer, values_BM: Tensor, features_BF: Tensor) -> None:
    ridge = 1e-3 * torch.eye(features_BF.shape[1])
    solve = torch.linalg.solve(features_BF.T @ features_BF + ridge, features_BF.T)
    model.location_FM.copy_(solve @ values_BM)
    rest_BM = values_BM - features_BF @ model.location_FM
    model.log_width_FM.copy_(solve @ torch.log(rest_BM.abs().clamp(min=1e-3)))
    standard_BM = rest_BM / torch.exp(features_BF @ model.log_width_FM)
    knots_K = torch.linspace(-FARTHEST, FARTHEST, KNOTS)
    model.quantiles_KM.copy_(torch.quantile(standard_BM, ndtr(knots_K), dim=0))
    count = len(values_BM)
    rank_BM = standard_BM.argsort(0).argsort(0)
    normals_BM = ndtri((rank_BM + 0.5) / count)
    covariance_MM = torch.corrcoef(normals_BM.T) if count > 2 else torch.eye(model.sums)
    covariance_MM = torch.nan_to_num(covariance_MM) + 0.01 * torch.eye(model.sums)
    model.root_MM.copy_(torch.linalg.cholesky(covariance_MM / 1.01).T)


def _begin_cells(model: Mixer, deposits_BXYZ: Tensor) -> None:
    """Find normal distributions whose part above zero has the hits, mean and spread of groups of showers."""
    height_BOZ = torch.log1p(deposits_BXYZ.flatten(1, 2) / model.unit_MeV)
    hit_BOZ = (height_BOZ > 0).float()
    log_BZ = torch.log(deposits_BXYZ.sum((1, 2)).clamp(min=SMALLEST_LAYER_MEV))
    order_BZ = log_BZ.argsort(0).argsort(0)
    rare_OZ = hit_BOZ.mean(0) < RARE
    usual = [
        (height_BOZ**n).sum(0)[rare_OZ].sum() / hit_BOZ.sum(0)[rare_OZ].sum().clamp(min=1)
        for n in (1, 2)
    ]
    for level in range(LEVELS):
        in_BZ = (order_BZ * LEVELS // len(log_BZ) == level).float()
        count_Z = in_BZ.sum(0).clamp(min=1)
        model.level_LZ[level] = (in_BZ * log_BZ).sum(0) / count_Z
        hits, first, second = (
            torch.einsum("boz,bz->oz", values, in_BZ) for values in (hit_BOZ, height_BOZ, height_BOZ**2)
        )
        # A prior of half a hit in a shower, and of a few hits as rare ones are.
        probability = ((hits + 0.5) / (count_Z + 1)).clamp(1e-5, 1 - 1e-4)
        mean, square = (
            (seen + PRIOR_HITS * prior) / (hits + PRIOR_HITS)
            for seen, prior in zip((first, second), usual, strict=True)
        )
        model.cell_laws[:, level] = torch.stack(_laws_of(probability, mean, square))


def _laws_of(probability: Tensor, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find threshold, log scale and log power of cells that are so often hit, from moments of their hits."""
    threshold = -ndtri(probability)
    quantile_Q = (torch.arange(QUANTILES) + 0.5) / QUANTILES
    above = -ndtri((probability[..., None] * quantile_Q).clamp(min=1e-30)) - threshold[..., None]
    log_above = torch.log(above.clamp(min=1e-6))
    wanted = (square / (mean * mean).clamp(min=1e-12)).clamp(min=1)
    best = torch.full_like(mean, torch.inf)
    log_power, log_scale = torch.zeros_like(mean), torch.zeros_like(mean)
    for power in torch.logspace(-0.9, 0.2, POWERS):
        raised = torch.exp(power * log_above)
        raised_mean = raised.mean(-1)
        away = (torch.log(raised.square().mean(-1) / raised_mean**2) - torch.log(wanted)).abs()
        better = away < best
        best = torch.where(better, away, best)
        log_power = torch.where(better, torch.log(power), log_power)
        log_scale = torch.where(better, torch.log(mean.clamp(min=1e-3) / raised_mean), log_scale)
    return threshold, log_scale, log_power
