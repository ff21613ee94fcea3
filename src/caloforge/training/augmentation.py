"""More showers from the same ones: the symmetries that a geometry really has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.showers import Conditions

__all__ = ["SYMMETRIES", "Move", "allowed_symmetries", "check_symmetries", "symmetry_moves"]

SYMMETRIES = ("mirror-x", "mirror-y", "transpose", "rotate-phi", "mirror-phi")
"""Every symmetry by name, in the order in which they are applied."""

NORMAL_WITHIN_RAD = 1e-4
"""Angles this near to pi/2 are normal: across a whole calorimeter it is far less than a cell."""


MATRICES = {
    "mirror-x": np.diag([-1.0, 1.0]),
    "mirror-y": np.diag([1.0, -1.0]),
    "transpose": np.array([[0.0, 1.0], [1.0, 0.0]]),
}
"""What moves a point or a direction across the shower; particles hit a cylinder on its axis, which stays."""


def allowed_symmetries(grid: Grid, conditions: Conditions) -> tuple[str, ...]:
    """Name the symmetries of the detector that keep the directions of these showers.

    Particles tilted in the y-z plane leave only the x mirror; where azimuths vary, they move with the shower,
    and each symmetry is one. A transpose needs as many and as large
    cells in x as in y; a cylinder around the particle may be turned by whole cells and mirrored.
    """
    cosine_N = np.cos(conditions.incident_theta.astype(np.float64))
    tilted_N = np.abs(cosine_N) > NORMAL_WITHIN_RAD
    if not grid.cartesian:
        return () if tilted_N.any() else ("rotate-phi", "mirror-phi")
    phi_N = conditions.phi.astype(np.float64)
    across_N2 = cosine_N[:, None] * np.stack([np.cos(phi_N), np.sin(phi_N)], axis=1)
    vary = np.ptp(phi_N[tilted_N]) > NORMAL_WITHIN_RAD if tilted_N.any() else False
    return tuple(
        name
        for name in ("mirror-x", "mirror-y", *(["transpose"] if grid.square else []))
        if vary or np.allclose(across_N2 @ MATRICES[name], across_N2, atol=NORMAL_WITHIN_RAD)
    )


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


@dataclass(frozen=True, eq=False)
class Move:
    """What a symmetry does to a shower: what is in cell c of the flattened grid goes to ``cells_C[c]``.

    An impact point (mm from the central cell's centre) goes to ``matrix_22 @ xy + shift_2``.
    """

    cells_C: NDArray[np.intp]
    matrix_22: NDArray[np.float64]
    shift_2: NDArray[np.float64]

    def impact(self, xy_mm: NDArray[np.float32]) -> NDArray[np.float64]:
        """Move an impact point (2,)."""
        return np.asarray(self.matrix_22 @ xy_mm + self.shift_2)

    def azimuth(self, phi_rad: float) -> float:
        """Turn the azimuth of a direction; on a cylinder around the particle it stays."""
        x, y = self.matrix_22 @ (math.cos(phi_rad), math.sin(phi_rad))
        return math.atan2(y, x)


def symmetry_moves(grid: Grid, names: Sequence[str]) -> list[Move]:
    """List every combination of the named symmetries; the first leaves all as it is.

    Drawing one uniformly applies each mirror and the transpose with probability 1/2, and every
    rotation alike.
    """
    cells = np.arange(grid.n_cells, dtype=np.intp).reshape(grid.shape)
    combinations = [(cells, np.eye(2), np.zeros(2))]
    # The middle of a grid with an even number of cells is an edge of its central cell.
    middle_2 = [
        -0.5 * size * (n % 2 == 0)
        for n, size in zip(grid.shape[:2], grid.cell_size or (1.0, 1.0), strict=True)
    ]
    for name in SYMMETRIES:
        if name in names:
            matrix_22 = MATRICES.get(name, np.eye(2))
            shift_2 = np.asarray(middle_2) - matrix_22 @ middle_2
            combinations = [
                (new, *((matrix, shift) if k == 0 else (matrix @ matrix_22, matrix @ shift_2 + shift)))
                for cells, matrix, shift in combinations
                for k, new in enumerate(_images(name, cells))
            ]
    return [Move(cells.reshape(-1), matrix, shift) for cells, matrix, shift in combinations]


def _images(name: str, cells: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return what one symmetry can make of an array, the array itself first."""
    if name == "mirror-x":
        return [cells, cells[::-1]]
    if name == "transpose":
        return [cells, cells.swapaxes(0, 1)]
    if name == "rotate-phi":
        return [np.roll(cells, n, axis=1) for n in range(cells.shape[1])]
    return [cells, cells[:, ::-1]]
