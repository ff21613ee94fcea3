"""Weights of one copula as a beginning for another: other energies, another material, another grid."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from caloforge.foundations.errors import UsageError
from caloforge.models.copula.conditions import monomial_names
from caloforge.models.copula.model import FactorCopula
from caloforge.models.shared.growth import grow

__all__ = ["take_over"]

MEMORY_STEPS = 30
"""On another detector the factors' moments are as if so many steps old: neither lost at once, nor kept for long."""

MEASURED = {"largest_R", "largest_M"}
"""What is always the new showers'."""


@torch.no_grad()
def take_over(model: FactorCopula, given: FactorCopula) -> None:
    """Begin with the weights of ``given``; ``model`` has begun with moments of the new showers.

    On the same detector the marginals stay the same functions of energy, angle and impact point. More factors
    begin with loadings of zero, fewer are learned anew. On another detector the marginals' means, and the scale
    of deposits, are the new showers'; how marginals depend on conditions, their shapes, and the factors are those
    of ``given``: of the cell at the same place across, and of the depth at which as large a part of the energy is
    deposited. The total deposit's marginal is learned anew.

    Raises UsageError for weights that have no such correspondence.
    """
    _refuse(model, given)
    if model.factors > given.factors:
        larger = FactorCopula(
            given.grid,
            given.threshold_MeV,
            tilted=given.tilted,
            particles=given.particles,
            turned=given.turned,
            factors=model.factors,
        )
        grow(larger, given)
        given = larger
    taken, measured = given.state_dict(), MEASURED
    if not _same_detector(model, given):
        mean_F = _mean_monomials(model, given)
        layers_ZZ = _layers(model.sum_location[0, 1:], (mean_F @ given.sum_location)[1:])
        taken |= _fields(model, given, mean_F, layers_ZZ)
        taken |= _sums(model, given, mean_F, layers_ZZ)
        taken |= {
            "depth_laws": _depth(model, given, mean_F),
            "correlations.steps_seen": given.correlations.steps_seen.clamp(max=MEMORY_STEPS),
        }
        measured = MEASURED | {"energy_scale.log_slope"}
    for name, value in model.state_dict().items():
        if name not in measured and value.shape == taken[name].shape:
            value.copy_(taken[name])


def _fields(
    model: FactorCopula, given: FactorCopula, mean_F: Tensor, layers_ZZ: Tensor
) -> dict[str, Tensor]:
    """Move the cells' marginals and moments to the new window and layers; the means are the new showers'."""
    loadings_OZC = given.correlations.loadings(given.frame)
    field_OZC = torch.cat([given.frame.expand(given.core, given.halo), loadings_OZC], 2)
    field_OZC = torch.einsum("zy,oyc->ozc", layers_ZZ, field_OZC[_cells(model, given)])
    own_OZC = model.frame.expand(model.core, model.halo)
    for quantity in range(3):  # threshold, location, log width
        first, last = quantity * model.n_monomials, (quantity + 1) * model.n_monomials
        varying_OZ = field_OZC[..., first + 1 : last] @ mean_F[1:]
        field_OZC[..., first] = own_OZC[..., first] - varying_OZ
    core, halo = model.frame.project(field_OZC)
    own = own_OZC.shape[2]
    return {
        "core": core[..., :own],
        "halo": halo[..., :own],
        "correlations.cells_core": core[..., own:],
        "correlations.cells_halo": halo[..., own:],
    }


def _sums(
    model: FactorCopula, given: FactorCopula, mean_F: Tensor, layers_ZZ: Tensor
) -> dict[str, Tensor]:
    """Move the layers' marginals and moments; the total deposit's are the material's own, and quickly learned."""
    mixing_MM = torch.zeros(model.sums, given.sums)
    mixing_MM[1:, 1:] = layers_ZZ
    covariance_QMM = mixing_MM @ given.correlations.covariance_QMM @ mixing_MM.T
    covariance_QMM[:, 0, 0] = 1
    location_FM, log_width_FM = given.sum_location @ mixing_MM.T, given.sum_log_width @ mixing_MM.T
    location_FM[0] = model.sum_location[0] - mean_F[1:] @ location_FM[1:]
    log_width_FM[0] = model.sum_log_width[0] - mean_F[1:] @ log_width_FM[1:]
    return {
        "sum_location": location_FM,
        "sum_log_width": log_width_FM,
        "sum_skew": given.sum_skew @ mixing_MM.T,
        "sum_log_tail": given.sum_log_tail @ mixing_MM.T,
        "correlations.sums_QMK": mixing_MM @ given.correlations.sums_QMK,
        "correlations.covariance_QMM": covariance_QMM,
    }


def _depth(model: FactorCopula, given: FactorCopula, mean_F: Tensor) -> Tensor:
    """Move the depth's marginal: in layers of the new detector, with the new showers' mean and width."""
    depth_4J = given.depth_laws.clone()
    depth_4J[0] *= model.grid.n_layers / given.grid.n_layers
    names = _names(model)
    of_shower = ["1", "e", "ee", *["ss"] * model.tilted, *["g"] * model.particles]
    mean_J = mean_F[[names.index(name) for name in of_shower]]
    depth_4J[:2, 0] = model.depth_laws[:2, 0] - depth_4J[:2, 1:] @ mean_J[1:]
    return depth_4J


def _mean_monomials(model: FactorCopula, given: FactorCopula) -> Tensor:
    """Return the means (F,) of the monomials, as ``given`` measures them, over the new showers: normal ones."""
    (old_mean, old_width), (mean, width) = given.spectrum_2.tolist(), model.spectrum_2.tolist()
    shift, ratio = (mean - old_mean) / old_width, width / old_width
    means = {"1": 1.0, "e": shift, "ee": shift**2 + ratio**2 - 1}
    if model.tilted:
        means["ss"] = means["tt"] = float(model.slope_spread / given.slope_spread) ** 2 - 1
    return torch.tensor([means.get(name, 0.0) for name in _names(model)])


def _names(model: FactorCopula) -> list[str]:
    return monomial_names(tilted=model.tilted, particles=model.particles)


def _refuse(model: FactorCopula, given: FactorCopula) -> None:
    """Refuse weights of another kind."""
    new, old = model.grid, given.grid
    if new.axes != old.axes:
        raise UsageError(
            f"expected weights for axes {', '.join(new.axes)}, got some for {', '.join(old.axes)}"
        )
    if not new.cartesian and new.shape[:2] != old.shape[:2]:
        sizes = (f"{shape[0]} x {shape[1]}" for shape in (new.shape, old.shape))
        raise UsageError(
            "on a cylinder expected weights for {} cells across, got some for {}".format(*sizes)
        )
    if model.follows != given.follows or model.turned != given.turned:
        told, wanted = (", ".join(sorted(one.follows)) or "the energy alone" for one in (given, model))
        raise UsageError(f"expected weights that follow {wanted}, got some that follow {told}")


def _same_detector(model: FactorCopula, given: FactorCopula) -> bool:
    new, old = model.grid, given.grid
    return new == old and new.extra.get("layer_stacks") == old.extra.get("layer_stacks")


def _layers(new_log_Z: Tensor, old_log_Z: Tensor) -> Tensor:
    """Interpolate (new, old) to the depths at which the same part of the mean energy has been deposited."""
    new_Z, old_Z = (torch.softmax(log_Z, 0).double().numpy() for log_Z in (new_log_Z, old_log_Z))
    depth_Z = np.interp(
        np.cumsum(new_Z) - new_Z / 2, np.cumsum(old_Z) - old_Z / 2, np.arange(len(old_Z))
    )
    rows = [np.interp(depth_Z, np.arange(len(old_Z)), row) for row in np.eye(len(old_Z))]
    return torch.from_numpy(np.stack(rows, 1)).float()


def _cells(model: FactorCopula, given: FactorCopula) -> Tensor:
    """Return where in the window of ``given`` each cell of the model's window lies, at its edge if beyond."""
    new, old = model.frame, given.frame
    x, y = (
        (torch.arange(new.shape[a]) - new.centre[a] + old.centre[a]).clamp(0, old.shape[a] - 1)
        for a in (0, 1)
    )
    cells_XY: Tensor = x[:, None] * old.shape[1] + y
    return cells_XY.flatten()
