"""Golden showers: what an exported file computes, against the model itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from caloforge.export.forms import GOLDEN, Form
from caloforge.foundations.errors import CaloforgeError
from caloforge.showers.batch import Given

__all__ = ["GOLDEN", "WITHIN", "Golden", "require_same"]

WITHIN = 1e-3
"""How much all cells of a shower together may differ from the model's, relative to its energy."""

FLIPS, FLIPS_A_HIT = 2, 1e-3
"""So many cells of a shower may be hit in one alone: at its threshold a cell may fall on either side."""


@dataclass(frozen=True)
class Golden:
    """Showers to check a file by: conditions, what is passed for them, and the model's deposits (N, nx, ny, nz) in MeV."""

    given: Given
    inputs: tuple[Tensor, ...]
    deposits: NDArray[np.float32]

    @classmethod
    def of(cls, form: Form) -> Golden:
        """Make those of a form. Raises CaloforgeError where the model's own are not finite."""
        given = form.golden()
        inputs, noise_NL = form.ask(given)
        deposits = form.model.read_out(given, noise_NL).numpy()
        if not np.isfinite(deposits).all():
            raise CaloforgeError("the model makes showers that are not finite within its range")
        return cls(given, inputs, deposits)

    @property
    def energy_MeV(self) -> NDArray[np.float64]:
        """Deposits of each shower in all."""
        total: NDArray[np.float64] = self.deposits.sum((1, 2, 3), dtype=np.float64)
        return total

    @property
    def hits(self) -> NDArray[np.intp]:
        """Cells that are hit in each shower."""
        hits: NDArray[np.intp] = np.count_nonzero(self.deposits, axis=(1, 2, 3))
        return hits


def require_same(form: Form, golden: Golden, run: Callable[[tuple[Tensor, ...]], Tensor]) -> float:
    """Compare what a file computes with the model, and return by how much a shower's cells differ at most, as a part of its energy.

    ``run`` maps inputs to the output. Raises CaloforgeError naming the first shower that differs beyond :data:`WITHIN` or
    :data:`FLIPS`.
    """
    deposits = form.read(run(golden.inputs), golden.given).numpy()
    energy_N = np.maximum(golden.energy_MeV, 1e-9)
    apart_N = np.abs(deposits - golden.deposits).sum((1, 2, 3), dtype=np.float64) / energy_N
    flips_N = np.count_nonzero((deposits > 0) != (golden.deposits > 0), axis=(1, 2, 3))
    for shower, (apart, flips) in enumerate(zip(apart_N, flips_N, strict=True)):
        said = f"golden shower {shower} of {energy_N[shower]:.6g} MeV differs from the model's"
        if not apart <= WITHIN:
            raise CaloforgeError(f"{said} by {apart:.2g} of its energy, expected {WITHIN:g} at most")
        if flips > FLIPS + FLIPS_A_HIT * golden.hits[shower]:
            raise CaloforgeError(f"{said}: {flips} cells are hit in one alone")
    return float(apart_N.max())
