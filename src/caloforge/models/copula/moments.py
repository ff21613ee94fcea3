"""How a copula begins: marginals from moments of some showers."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.models.copula.marginals import normal_quantile
from caloforge.models.copula.model import FactorCopula, depth
from caloforge.models.shared.layer_shares import log_shares
from caloforge.showers.batch import Batch

__all__ = ["begin"]

AT_ONCE = 50
"""Showers that are added up together: few enough for their cells to stay in memory."""

BEYOND_LARGEST = 0.3
"""Deposits may exceed the largest that was seen at their distance by this, in ln."""


@torch.no_grad()
def begin(model: FactorCopula, showers: Batch) -> None:
    """Set the marginals to moments of some showers: far cells share theirs with others at their distance."""
    log_energy_B, slope_B2 = torch.log(showers.given.energy_B), model.frame.slopes(showers.given)
    model.spectrum_2.copy_(torch.stack([log_energy_B.mean(), log_energy_B.std().clamp(min=1e-3)]))
    energies_Q = model.correlations.energies_Q
    lowest, highest = (
        (end - model.spectrum_2[0]) / model.spectrum_2[1] for end in log_energy_B.aminmax()
    )
    # Not one energy alone: they are told apart.
    energies_Q.copy_(torch.linspace(float(lowest) - 1e-3, float(highest) + 1e-3, len(energies_Q)))
    model.slope_spread.copy_(slope_B2.square().mean().sqrt().clamp(min=1e-3))
    sums_4OZ, largest_OZ = _cell_sums(model, showers)
    _begin_cells(model, *_by_rings(sums_4OZ, model.frame.radius))
    _begin_largest(model, largest_OZ.amax(1))
    depth_B = depth(showers.deposits_BXYZ)
    model.depth_laws[:2, 0] = torch.stack([depth_B.mean(), torch.log(depth_B.std().clamp(min=1e-3))])
    values_BM = log_shares(showers.deposits_BXYZ, showers.given.energy_B)
    model.largest_M.copy_(values_BM.amax(0) + BEYOND_LARGEST)
    model.sum_location[0] = values_BM.mean(0)
    model.sum_log_width[0] = torch.log(values_BM.std(0).clamp(min=1e-3))


def _cell_sums(model: FactorCopula, showers: Batch) -> tuple[Tensor, Tensor]:
    """Add up over showers, for each cell of the window: showers, hits, ln(deposit) and its square; and the largest."""
    frame, n_layers, size = model.frame, model.grid.n_layers, model.grid.n_cells
    sums_4C, largest_C = torch.zeros(4, size), torch.zeros(size)
    for first in range(0, len(showers.given.energy_B), AT_ONCE):
        some = showers.take(slice(first, first + AT_ONCE))
        cells_BC, inside_BC = frame.cells(model.place(some.given, some.deposits_BXYZ))
        deposits_BC = some.deposits_BXYZ.flatten(1) * inside_BC
        largest_C.scatter_reduce_(0, cells_BC.flatten(), deposits_BC.flatten(), "amax")
        log_BC = torch.log(deposits_BC.clamp(min=1e-30))
        log_BC = torch.where(deposits_BC > 0, log_BC, 0.0)
        moments = (inside_BC.float(), (deposits_BC > 0).float(), log_BC, log_BC**2)
        for total_C, values_BC in zip(sums_4C, moments, strict=True):
            total_C.index_add_(0, cells_BC.flatten(), values_BC.flatten())
    return sums_4C.view(4, -1, n_layers), largest_C.view(-1, n_layers)


def _begin_cells(model: FactorCopula, seen: Tensor, hits: Tensor, first: Tensor, second: Tensor) -> None:
    """Set constants of thresholds, locations and widths; a prior of two hits of 0.3 MeV, where there are none."""
    probability = ((hits + 0.5) / (seen + 1)).clamp(1e-6, 1 - 1e-4)
    location = (first - 2.4) / (hits + 2)
    mean = first / hits.clamp(min=1)
    variance = (second - hits * mean**2 + 4.5) / (hits + 3)
    log_width = 0.5 * torch.log(variance.clamp(min=0.01))
    field = torch.stack([-normal_quantile(probability), location, log_width], -1)
    core, halo = model.frame.project(field)
    constants = [k * model.n_monomials for k in range(3)]
    model.core[..., constants], model.halo[..., constants] = core, halo


def _begin_largest(model: FactorCopula, largest_O: Tensor) -> None:
    """Bound deposits by the largest nearby: so few showers do not hold the largest, and rings few of them."""
    frame = model.frame
    largest_R = torch.zeros(frame.rings).scatter_reduce_(0, frame.ring_O, largest_O, "amax")
    around_R = torch.nn.functional.max_pool1d(largest_R[None], 3, stride=1, padding=1)[0]
    model.largest_R.copy_(torch.log(around_R.clamp(min=1.0)) + BEYOND_LARGEST)


def _by_rings(sums_4OZ: Tensor, radius_O: object) -> Tensor:
    """Add up sums over cells at the same distance, far from the axis also over neighbouring layers."""
    distance_O = torch.as_tensor(radius_O, dtype=torch.float32)
    ring_O = torch.round(2 * distance_O).long()
    rings_4RZ = torch.zeros(4, int(ring_O.max()) + 1, sums_4OZ.shape[2]).index_add_(1, ring_O, sums_4OZ)
    padded = torch.nn.functional.pad(rings_4RZ, (1, 1), mode="replicate")
    wide = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    far_O1 = (distance_O > 6)[:, None]
    return torch.where(far_O1, wide[:, ring_O], rings_4RZ[:, ring_O])
