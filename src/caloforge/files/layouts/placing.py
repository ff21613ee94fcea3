"""From positions of hits to cells of a detector: what lies outside of its grid is added up, not forgotten."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.detector.positions import first_azimuth_rad, layer_depths_mm
from caloforge.showers import NORMAL_INCIDENCE

__all__ = ["Hits", "angles_of", "lattice_offset_mm", "layers_of", "place", "showers_at_once"]

MAX_BYTES = 1 << 26

Array = NDArray[np.float64]


@dataclass
class Hits:
    """Hits of ``count`` showers: the shower's number (H,), place across from the primary (H, 2) mm, layer (H,), MeV (H,).

    Layers outside of the detector are negative, or beyond the last.
    """

    count: int
    shower: NDArray[np.int64]
    across_mm: Array
    layer: NDArray[np.int64]
    energy_MeV: Array


def showers_at_once(grid: Grid) -> int:
    """Return how many showers to place at a time in bounded memory."""
    return max(1, MAX_BYTES // (8 * grid.n_cells))


def place(hits: Hits, grid: Grid) -> tuple[NDArray[np.float32], float]:
    """Return deposits (N, *shape) in MeV, and how much energy of the hits lies outside of the grid.

    The primary is at the centre of the central cell, or on the cylinder's axis.
    """
    assert grid.cell_size is not None
    sizes, shape = np.array(grid.cell_size), grid.shape
    if grid.cartesian:
        cells = np.floor(hits.across_mm / sizes + 0.5) + np.array(shape[:2]) // 2
    else:
        x, y = hits.across_mm.T
        phi = (np.arctan2(y, x) - first_azimuth_rad(grid)) % math.tau
        cells = np.floor(
            np.stack([np.hypot(x, y), np.minimum(phi, np.nextafter(math.tau, 0))], axis=1) / sizes
        )
    index = np.column_stack([cells, hits.layer])
    inside = ((index >= 0) & (index < shape)).all(axis=1)
    places = (hits.shower[inside], *index[inside].astype(np.int64).T)
    flat = np.ravel_multi_index(places, (hits.count, *shape))
    sums = np.bincount(flat, hits.energy_MeV[inside], minlength=hits.count * grid.n_cells)
    deposits = sums.reshape(hits.count, *shape).astype(np.float32)
    return deposits, float(hits.energy_MeV[~inside].sum())


def lattice_offset_mm(hits: Hits, grid: Grid) -> Array:
    """Return how far (N, 2) the nearest centre of the hits' own cells is from each shower's primary.

    Cells of a read-out repeat at the grid's pitch: the energy-weighted mean of their phase is where they lie. Without it hits
    could lie on the borders of the grid's cells, and rounding would choose.
    """
    assert grid.cell_size is not None
    if not grid.cartesian:
        return np.zeros((hits.count, 2))
    offset = np.zeros((hits.count, 2))
    for axis, size in enumerate(grid.cell_size):
        phase = math.tau * hits.across_mm[:, axis] / size
        parts = (
            np.bincount(hits.shower, hits.energy_MeV * wave(phase), minlength=hits.count)
            for wave in (np.sin, np.cos)
        )
        offset[:, axis] = np.arctan2(*parts) * size / math.tau
    return offset


def layers_of(depth_mm: Array, grid: Grid) -> NDArray[np.int64]:
    """Return the layer whose depth is nearest; what is half a spacing before the first or behind the last is outside."""
    depths = layer_depths_mm(grid)
    assert depths is not None
    if len(depths) == 1:
        return np.zeros(len(depth_mm), np.int64)
    middle = (depths[1:] + depths[:-1]) / 2
    edges = np.concatenate([[2 * depths[0] - middle[0]], middle, [2 * depths[-1] - middle[-1]]])
    return np.searchsorted(edges, depth_mm, side="right") - 1


def angles_of(direction_N3: Array) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return theta (angle to the face) and phi (azimuth, from 0 to pi) of directions whose last component goes into the calorimeter.

    The direction is (cos theta cos phi, cos theta sin phi, sin theta); at normal incidence phi is pi/2.
    """
    x, y, z = direction_N3.T
    flipped = np.where((y < 0) | ((y == 0) & (x < 0)), -1.0, 1.0)
    across = np.hypot(x, y)
    phi = np.where(across > 0, np.arctan2(y * flipped, x * flipped), NORMAL_INCIDENCE)
    return np.arctan2(z, across * flipped).astype(np.float32), phi.astype(np.float32)
