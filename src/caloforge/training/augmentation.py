"""More showers from the same ones: the symmetries that a geometry really has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.errors import UsageError
from caloforge.showers import NORMAL_INCIDENCE, Conditions

__all__ = ["SYMMETRIES", "allowed_symmetries", "cell_moves", "check_symmetries"]

SYMMETRIES = ("mirror-x", "mirror-y", "transpose", "rotate-phi", "mirror-phi")
"""Every symmetry by name, in the order in which they are applied."""

NORMAL_WITHIN_RAD = 1e-4
"""Angles this near to pi/2 are normal: across a whole calorimeter it is far less than a cell."""


def allowed_symmetries(grid: Grid, conditions: Conditions) -> tuple[str, ...]:
    """Name the symmetries that change neither the physics nor the conditions of these showers.

    Particles tilted in the y-z plane leave only the x mirror; a transpose needs as many and as large
    cells in x as in y; a cylinder around the particle may be turned by whole cells and mirrored.
    """
    tilt_N = np.abs(conditions.incident_theta.astype(np.float64) - NORMAL_INCIDENCE)
    tilted = bool((tilt_N > NORMAL_WITHIN_RAD).any())
    if not grid.cartesian:
        return () if tilted else ("rotate-phi", "mirror-phi")
    if tilted:
        return ("mirror-x",)
    return ("mirror-x", "mirror-y", "transpose") if grid.square else ("mirror-x", "mirror-y")


def check_symmetries(names: Sequence[str], grid: Grid, conditions: Conditions) -> None:
    """Raise UsageError naming the first of ``names`` that the geometry does not have."""
    allowed = allowed_symmetries(grid, conditions)
    for name in names:
        if name not in SYMMETRIES:
            raise UsageError(f"augmentation {name!r}: expected one of {', '.join(SYMMETRIES)}")
        if name not in allowed:
            raise UsageError(
                f"augmentation {name!r}: these showers on {grid.name} do not have this symmetry, "
                f"expected one of {', '.join(allowed) or 'none'}"
            )


def cell_moves(grid: Grid, names: Sequence[str]) -> NDArray[np.intp]:
    """List every combination of the named symmetries as a move of cells.

    Returns moves_MC: under combination m, what is in cell c (of the flattened grid) goes to the cell
    ``moves_MC[m, c]``. The first combination leaves all as it is. Drawing m uniformly applies each
    mirror and the transpose with probability 1/2, and every rotation alike.
    """
    combinations = [np.arange(grid.n_cells, dtype=np.intp).reshape(grid.shape)]
    for name in SYMMETRIES:
        if name in names:
            combinations = [new for cells in combinations for new in _images(name, cells)]
    return np.stack([cells.reshape(-1) for cells in combinations])


def _images(name: str, cells: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Give what one symmetry can make of an array, the array itself first."""
    if name == "mirror-x":
        return [cells, cells[::-1]]
    if name == "transpose":
        return [cells, cells.swapaxes(0, 1)]
    if name == "rotate-phi":
        return [np.roll(cells, turn, axis=1) for turn in range(cells.shape[1])]
    return [cells, cells[:, ::-1]]
