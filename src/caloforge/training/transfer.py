"""Weights of one copula as a beginning for another: other energies, another material, another grid."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from caloforge.errors import UsageError
from caloforge.models.factor_copula import FactorCopula
from caloforge.models.shower_frame import Place

__all__ = ["take_over"]

MEMORY_STEPS = 30
"""On another detector the factors' moments are as if so many steps old: neither lost at once, nor kept for long."""

POINTS = 1000


@torch.no_grad()
def take_over(model: FactorCopula, given: FactorCopula) -> None:
    """Begin with the weights of ``given``; ``model`` has begun with moments of the new showers.

    On the same detector the laws stay the same functions of energy, angle and impact point, written in units
    of the new showers' spectrum. On another one the laws' constants, and the scale of deposits, are the new
    showers'; how laws depend on conditions, their shapes, and the factors are those of ``given``: of
    the cell at the same place across, and of the depth at which as large a part of the energy is deposited.

    Raises UsageError for weights that have no such correspondence.
    """
    _refuse(model, given)
    change_FF = _change_of_units(given, model)
    core, halo = (
        torch.cat([_in_new_units(change_FF, laws), moments], 2)
        for laws, moments in ((given.core, given.moments_core), (given.halo, given.moments_halo))
    )
    location_FM, log_width_FM = change_FF @ given.sum_location, change_FF @ given.sum_log_width
    mixing_MM, steps = torch.eye(given.sums), given.steps_seen
    if _same_detector(model, given):
        model.energy_scale.load_state_dict(given.energy_scale.state_dict())
    else:
        steps = steps.clamp(max=MEMORY_STEPS)
        layers_ZZ = _layers(model.sum_location[0, 1:], location_FM[0, 1:])
        mixing_MM = torch.zeros(model.sums, given.sums)
        mixing_MM[0, 0], mixing_MM[1:, 1:] = 1, layers_ZZ
        field_OZC = given.frame.expand(core, halo)[_cells(model, given)]
        core, halo = model.frame.project(torch.einsum("zy,oyc->ozc", layers_ZZ, field_OZC))
        constants = [k * model.monomials for k in range(3)]
        core[..., constants], halo[..., constants] = (
            model.core[..., constants],
            model.halo[..., constants],
        )
        location_FM, log_width_FM = location_FM @ mixing_MM.T, log_width_FM @ mixing_MM.T
        location_FM[0], log_width_FM[0] = model.sum_location[0], model.sum_log_width[0]
    sizes = [model.core.shape[2], model.factors]
    for whole, parts in (
        (core, (model.core, model.moments_core)),
        (halo, (model.halo, model.moments_halo)),
    ):
        for part, values in zip(parts, torch.split(whole, sizes, 2), strict=True):
            part.copy_(values)
    model.sum_location.copy_(location_FM)
    model.sum_log_width.copy_(log_width_FM)
    model.sum_skew.copy_(mixing_MM @ given.sum_skew)
    model.sum_log_tail.copy_(mixing_MM @ given.sum_log_tail)
    model.moments_factors.copy_(given.moments_factors)
    model.moments_sums.copy_(mixing_MM @ given.moments_sums)
    model.covariance_sums.copy_(mixing_MM @ given.covariance_sums @ mixing_MM.T)
    model.steps_seen.copy_(steps)


def _refuse(model: FactorCopula, given: FactorCopula) -> None:
    """Refuse weights of another kind."""
    new, old = model.grid, given.grid
    if model.listens_to_angle != given.listens_to_angle:
        kinds = {False: "copula", True: "copula-angle"}
        raise UsageError(
            f"expected weights of {kinds[model.listens_to_angle]}, got those of {kinds[given.listens_to_angle]}"
        )
    if new.axes != old.axes:
        raise UsageError(
            f"expected weights for axes {', '.join(new.axes)}, got some for {', '.join(old.axes)}"
        )
    if not new.cartesian and new.shape[:2] != old.shape[:2]:
        sizes = (f"{shape[0]} x {shape[1]}" for shape in (new.shape, old.shape))
        raise UsageError(
            "on a cylinder expected weights for {} cells across, got some for {}".format(*sizes)
        )


def _same_detector(model: FactorCopula, given: FactorCopula) -> bool:
    new, old = model.grid, given.grid
    return new == old and new.extra.get("layer_stack") == old.extra.get("layer_stack")


def _change_of_units(given: FactorCopula, model: FactorCopula) -> Tensor:
    """Give the matrix from coefficients of the monomials of ``given`` to those of ``model``: an exact one.

    Both measure energy and slope by their showers' spread, so the monomials of one are sums of the other's.
    """
    random = torch.Generator().manual_seed(0)
    normal_4P = torch.randn(4, POINTS, generator=random)
    energy_P = torch.exp(given.spectrum_2[0] + given.spectrum_2[1] * normal_4P[0])
    theta_P = math.pi / 2 - torch.atan(given.slope_spread * normal_4P[1])
    nowhere_P = torch.zeros(POINTS, dtype=torch.long)
    place = Place(nowhere_P, nowhere_P[:, None], normal_4P[2], normal_4P[3][:, None])
    old_PF, new_PF = (m.conditions(energy_P, theta_P, place)[:, 0].double() for m in (given, model))
    size_F = new_PF.norm(dim=0)
    solved_FF: Tensor = torch.linalg.lstsq(new_PF / size_F, old_PF).solution
    return torch.div(solved_FF, size_F[:, None]).float()


def _in_new_units(change_FF: Tensor, laws: Tensor) -> Tensor:
    """Rewrite laws (..., 3 F + 2): threshold, location and log width; two shapes stay as they are."""
    monomials = len(change_FF)
    polynomials, shapes = laws[..., : 3 * monomials], laws[..., 3 * monomials :]
    rewritten = polynomials.reshape(*laws.shape[:-1], 3, monomials) @ change_FF.T
    return torch.cat([rewritten.flatten(-2), shapes], -1)


def _layers(new_log_Z: Tensor, old_log_Z: Tensor) -> Tensor:
    """Interpolate (new, old) to the depths at which the same part of the mean energy has been deposited."""
    new_Z, old_Z = (torch.softmax(log_Z, 0).double().numpy() for log_Z in (new_log_Z, old_log_Z))
    depth_Z = np.interp(
        np.cumsum(new_Z) - new_Z / 2, np.cumsum(old_Z) - old_Z / 2, np.arange(len(old_Z))
    )
    rows = [np.interp(depth_Z, np.arange(len(old_Z)), row) for row in np.eye(len(old_Z))]
    return torch.from_numpy(np.stack(rows, 1)).float()


def _cells(model: FactorCopula, given: FactorCopula) -> Tensor:
    """Where in the window of ``given`` each cell of the model's window lies, at its edge if beyond."""
    (new, old), axes = (model.frame, given.frame), (0, 1)
    x, y = (
        (torch.arange(new.window[a]) - new.below[a] + old.below[a]).clamp(0, old.window[a] - 1)
        for a in axes
    )
    cells_XY: Tensor = x[:, None] * old.window[1] + y
    return cells_XY.flatten()
