"""Where cells lie in mm: across from the centre of the central cell, in depth from the calorimeter's face."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from caloforge.detector.grid import Grid
from caloforge.detector.layers import read_stacks, sensitive_depths
from caloforge.foundations.errors import UsageError

__all__ = ["cell_positions_mm", "first_azimuth_rad", "layer_depths_mm"]

Array = NDArray[np.float64]


def layer_depths_mm(grid: Grid) -> Array | None:
    """Return the depth of each layer: the centre of what is sensitive in it, or else the layer's; None if unknown."""
    stacks = read_stacks(grid.extra.get("layer_stacks"), grid.n_layers)
    depths = grid.depths_mm if stacks is None else sensitive_depths(stacks)
    return None if depths is None else np.array(depths)


def first_azimuth_rad(grid: Grid) -> float:
    """Return the azimuth at which the sectors of a cylinder begin, 0 where nothing else is told."""
    start = grid.extra.get("phi_start_rad")
    return float(start) if isinstance(start, int | float) and math.isfinite(start) else 0.0


def cell_positions_mm(grid: Grid) -> tuple[Array, Array, Array]:
    """Return x, y, z of the centre of every cell, each of the grid's shape.

    x and y count from the centre of the central cell (of an even number of cells, the one right of the middle) or from
    the cylinder's axis. Raises UsageError where the grid does not know its cells' size or its layers' depth.
    """
    depths = layer_depths_mm(grid)
    if grid.cell_size is None or depths is None:
        what = "its cells' size" if grid.cell_size is None else "the depth of its layers"
        raise UsageError(f"detector {grid.name!r}: positions in mm need {what}, which is not known")
    n_first, n_second, _ = grid.shape
    size_first, size_second = grid.cell_size
    if grid.cartesian:
        x = (np.arange(n_first) - n_first // 2)[:, None] * size_first
        y = (np.arange(n_second) - n_second // 2) * size_second
    else:
        r = (np.arange(n_first)[:, None] + 0.5) * size_first
        phi = (np.arange(n_second) + 0.5) * size_second + first_azimuth_rad(grid)
        x, y = r * np.cos(phi), r * np.sin(phi)
    places = (np.broadcast_to(v, grid.shape) for v in (x[..., None], y[..., None], depths))
    x, y, z = (np.asarray(place, np.float64) for place in places)
    return x, y, z
