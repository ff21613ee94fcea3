"""Weights of one copula as a beginning for another: other energies, another material, another grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from caloforge.errors import UsageError
from caloforge.models.factor_copula import FactorCopula

__all__ = ["take_over"]

MEMORY_STEPS = 30
"""On another detector the factors' moments are as if so many steps old: neither lost at once, nor kept for long."""

MEASURED = ("spectrum_2", "slope_spread", "impact_span_22")
"""What the conditions are measured by is always the new showers'."""


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
    mixing_MM, steps, measured = torch.eye(given.sums), given.steps_seen, {*MEASURED}
    if not _same_detector(model, given):
        steps, measured = steps.clamp(max=MEMORY_STEPS), {*MEASURED, "energy_scale.log_slope"}
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
    laws = model.core.shape[2]
    taken = {
        **given.state_dict(),
        "core": core[..., :laws],
        "halo": halo[..., :laws],
        "moments_core": core[..., laws:],
        "moments_halo": halo[..., laws:],
        "sum_location": location_FM,
        "sum_log_width": log_width_FM,
        "sum_skew": given.sum_skew @ mixing_MM.T,
        "sum_log_tail": given.sum_log_tail @ mixing_MM.T,
        "moments_sums": mixing_MM @ given.moments_sums,
        "covariance_sums": mixing_MM @ given.covariance_sums @ mixing_MM.T,
        "steps_seen": steps,
    }
    for name, value in model.state_dict().items():
        if name not in measured and value.shape == taken[name].shape:
            value.copy_(taken[name])


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
    """Give the matrix from coefficients of the monomials of ``given`` to those of ``model``, exactly.

    Both measure energy and slope by their showers' spread: a variable of one is v = a + b v' of the other's v',
    and so v^2 - 1 = b^2 (v'^2 - 1) + 2 a b v' + a^2 + b^2 - 1. Monomials are products of two polynomials.
    """
    (old_mean, old_width), (new_mean, new_width) = given.spectrum_2.tolist(), model.spectrum_2.tolist()
    left_F, right_F = model.products
    variables = int(model.products.max()) // 3  # each to the first, second and third power
    changes = [(0, (new_mean - old_mean) / old_width, new_width / old_width)]
    if model.listens_to_angle:  # the slope is the last but one of them
        slope_ratio = float(model.slope_spread) / float(given.slope_spread)
        changes.append((variables - 2, 0.0, slope_ratio))
    by_polynomial_PP = torch.eye(1 + 3 * variables)
    for number, a, b in changes:
        first, second = 1 + number, 1 + number + variables
        by_polynomial_PP[first, first], by_polynomial_PP[first, 0] = b, a
        by_polynomial_PP[second, second], by_polynomial_PP[second, first] = b * b, 2 * a * b
        by_polynomial_PP[second, 0] = a * a + b * b - 1
    pairs_FPP = by_polynomial_PP[left_F][:, :, None] * by_polynomial_PP[right_F][:, None]
    crossed_FF = torch.where(left_F != right_F, pairs_FPP[:, right_F, left_F], 0.0)
    return (pairs_FPP[:, left_F, right_F] + crossed_FF).T


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
