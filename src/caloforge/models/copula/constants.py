"""All that sampling needs, as tensors by name, laid out as a program without torch wants them.

Columns of a layer (cells of the window across) and sums are filled up to whole vectors: columns with cells that are
never hit. Beside them a cell has a record of what is needed only where it is hit, its numbers side by side.
"""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from caloforge.models.copula.layer_scaling import MANY_HITS

if TYPE_CHECKING:
    from caloforge.models.copula.model import FactorCopula, Prepared

__all__ = ["constants", "double_precision"]

LANES = 16
"""Numbers of the widest vector."""

NEVER = -1e4
"""What a column that is none has in place of minus its threshold."""


def constants(model: FactorCopula, fixed: Prepared) -> dict[str, Tensor]:
    """Return the constants (float32, and int64) of a model."""
    frame, shared = model.frame, model.correlations
    return {
        "follows": torch.tensor(
            [
                model.tilted,
                "impact_xy" in model.follows,
                model.particles,
                frame.has_sizes,
                frame.moves,
                model.turned,
            ]
        ).long(),
        "most_per_energy": torch.tensor([model.most_per_energy]),
        "cell_size_mm": torch.tensor([size if frame.has_sizes else 0.0 for size in frame.size_mm]),
        "depth_mm": frame.depth_Z.float(),
        "offset_spread": torch.tensor([frame.offset_spread]),
        "slope_spread": model.slope_spread[None],
        "log_energy": model.spectrum_2,
        "energies": shared.energies_Q,
        "products": model.products,
        **_of_columns(fixed),
        "cells.records": _records(model, fixed),
        "scale.lowest": fixed.inverse_scale.lowest[None],
        "scale.step": fixed.inverse_scale.step_S,
        "scale.values": fixed.inverse_scale.values_ST,
        "sums.loadings": _filled(fixed.sum_loadings_QKM),
        "sums.rest": _filled(fixed.rest_root_QMM),
        "sums.location": _filled(model.sum_location),
        "sums.log_width": _filled(model.sum_log_width),
        "sums.largest": _filled(model.largest_M),
        "sums.many_hits": torch.tensor([MANY_HITS]),
        "sums.skew": _filled(model.sum_skew),
        "sums.log_tail": _filled(model.sum_log_tail),
    }


def double_precision(model: FactorCopula, fixed: Prepared) -> FactorCopula:
    """Return a model that computes with the same constants in double precision."""
    exact = copy.deepcopy(model, {id(fixed): fixed}).double()  # what is prepared is no leaf
    exact._prepared = _doubled(fixed)
    return exact


def _doubled(fixed: Any) -> Any:
    """Return a dataclass of tensors with those of single precision in double."""
    changed = dict[str, Any]()
    for field in fields(fixed):
        value = getattr(fixed, field.name)
        if not isinstance(value, Tensor):
            changed[field.name] = _doubled(value)
        elif value.is_floating_point():
            changed[field.name] = value.double()
    return replace(fixed, **changed)


def _of_columns(fixed: Prepared) -> dict[str, Tensor]:
    """Return what all cells need: (Z, K, O), (Z, F, O), (Q, Z, O) twice, (Z, O), with columns filled up."""
    below_ZFO = _filled(fixed.below_ZFO)
    below_ZFO[:, 0, fixed.below_ZFO.shape[2] :] = NEVER
    return {
        "cells.loadings": _filled(fixed.loadings_ZKO),
        "cells.below": below_ZFO,
        "cells.amplitude": _filled(fixed.amplitude_QZO),
        "cells.own": _filled(fixed.own_QZO),
        "cells.share": _filled(fixed.share_ZO),
    }


def _records(model: FactorCopula, fixed: Prepared) -> Tensor:
    """Return (Z, O, R): location and log width of each monomial in turn, skew, tail, largest, scale's number."""
    n_layers, monomials = model.grid.n_layers, model.n_monomials
    laws_ZF3O = fixed.marginals_ZFO.unflatten(2, (3, -1))  # type: ignore[no-untyped-call]
    laws_ZOF2 = laws_ZF3O[:, :, 1:].permute(0, 3, 1, 2).reshape(n_layers, -1, 2 * monomials)
    shapes = (fixed.skew_C, fixed.tail_C, fixed.largest_C, fixed.scale_C.float())
    shapes_ZO4 = torch.stack([values_C.view(n_layers, -1) for values_C in shapes], dim=2)
    return _filled(torch.cat([laws_ZOF2, shapes_ZO4], dim=2))


def _filled(values: Tensor) -> Tensor:
    """Fill the last axis up to whole vectors with zeros."""
    return pad(values, (0, -values.shape[-1] % LANES)).contiguous()
