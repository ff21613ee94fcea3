"""Where a shower's deposits lie in mm: around its axis, and layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.detector.positions import first_azimuth_rad
from caloforge.observables.image import Image, divide, mean_and_spread

__all__ = ["Lengths", "ring_edges"]

Array = NDArray[np.float64]


def ring_edges(grid: Grid) -> Array:
    """Return the edges (mm) of the rings around a shower's axis: as wide as a cell, out to the image's edge.

    The grid must know its cells' size.
    """
    assert grid.cell_size is not None
    if grid.cartesian:
        width = min(grid.cell_size)
        half = max(n * size for n, size in zip(grid.shape[:2], grid.cell_size, strict=True)) / 2
        return np.asarray(width * np.arange(int(np.ceil(half / width)) + 1), np.float64)
    return np.asarray(grid.cell_size[0] * np.arange(grid.shape[0] + 1), np.float64)


@dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of showers on a grid with known cell size.

    x and y are measured from the centre of the central cell (of the cylinder). A shower's axis is the
    line through its barycentre along the incident direction, or along the depth where the layers'
    depths are unknown and on a cylinder, which is aligned with the particle already.
    """

    image: Image

    @cached_property
    def _cell_xy(self) -> tuple[Array, Array]:
        """Position of each hit's cell across the shower, mm: twice (H,)."""
        grid = self.image.grid
        assert grid.cell_size is not None
        n_first, n_second, n_layers = grid.shape
        first, second = np.divmod(self.image.hits.cells // n_layers, n_second)
        size_first, size_second = grid.cell_size
        if grid.cartesian:
            return (first - n_first // 2) * size_first, (second - n_second // 2) * size_second
        r, phi = (first + 0.5) * size_first, (second + 0.5) * size_second + first_azimuth_rad(grid)
        return r * np.cos(phi), r * np.sin(phi)

    @cached_property
    def _layer(self) -> NDArray[np.int64]:
        return self.image.hits.cells.astype(np.int64) % self.image.grid.n_layers

    @cached_property
    def barycentre(self) -> tuple[Array, Array]:
        """Barycentre across the shower, mm: x (N,) and y (N,); NaN without deposit."""
        hits = self.image.hits
        one = np.zeros(len(hits.cells), np.int64)
        x_N, y_N = (hits.sum(hits.deposits * xy, one, 1)[:, 0] for xy in self._cell_xy)
        return divide(x_N, self.image.total_N), divide(y_N, self.image.total_N)

    @cached_property
    def slopes(self) -> tuple[Array, Array]:
        """How far an axis moves in x and in y for each mm of depth, twice (N,)."""
        grid, showers = self.image.grid, self.image.showers
        if not grid.cartesian or grid.depths_mm is None:
            return np.zeros(len(showers)), np.zeros(len(showers))
        cotangent_N = 1 / np.tan(showers.incident_theta.astype(np.float64))
        if showers.incident_phi is None:
            return np.zeros(len(showers)), cotangent_N
        phi_N = showers.incident_phi.astype(np.float64)
        return cotangent_N * np.cos(phi_N), cotangent_N * np.sin(phi_N)

    @cached_property
    def distance_H(self) -> Array:
        """Distance of each hit's cell from its shower's axis, mm."""
        grid, shower_H = self.image.grid, self.image.hits.shower
        x_H, y_H = (xy - mean[shower_H] for xy, mean in zip(self._cell_xy, self.barycentre, strict=True))
        depth_Z = np.asarray(grid.depths_mm or [0.0] * grid.n_layers)
        mean_N, _ = mean_and_spread(self.image.profiles[2], depth_Z)
        below_H = depth_Z[self._layer] - mean_N[shower_H]
        # Steps inside a layer from the axis: along and across its tilt. One along it is longer than its
        # distance from the axis by 1 / sin(theta).
        slope_x_N, slope_y_N = self.slopes
        cotangent_N = np.hypot(slope_x_N, slope_y_N)
        tilt_x_N = np.divide(
            slope_x_N, cotangent_N, out=np.zeros_like(cotangent_N), where=cotangent_N > 0
        )
        tilt_y_N = np.divide(
            slope_y_N, cotangent_N, out=np.ones_like(cotangent_N), where=cotangent_N > 0
        )
        step_x_H = x_H - below_H * slope_x_N[shower_H]
        step_y_H = y_H - below_H * slope_y_N[shower_H]
        along_H = step_x_H * tilt_x_N[shower_H] + step_y_H * tilt_y_N[shower_H]
        across_H = step_x_H * tilt_y_N[shower_H] - step_y_H * tilt_x_N[shower_H]
        return np.asarray(np.hypot(across_H, along_H / np.hypot(1, cotangent_N)[shower_H]), np.float64)

    def rings(self) -> Array:
        """Return the deposit in the rings of :func:`ring_edges`, MeV (N, n); what lies beyond is left out."""
        edges = ring_edges(self.image.grid)
        ring_H = np.minimum((self.distance_H / edges[1]).astype(np.int64), len(edges) - 1)
        return self.image.hits.sum(self.image.hits.deposits, ring_H, len(edges))[:, :-1]

    def mean_radius(self) -> Array:
        """Return the mean distance from the axis, weighted with the deposit, mm (N,)."""
        hits = self.image.hits
        one = np.zeros(len(hits.cells), np.int64)
        return divide(hits.sum(hits.deposits * self.distance_H, one, 1)[:, 0], self.image.total_N)

    @cached_property
    def _outwards(self) -> tuple[Array, Array]:
        """Distances of each shower's hits from its axis, in increasing order, and the running sum of deposits."""
        scale = 1 + self.distance_H.max(initial=0)
        order = np.argsort(self.image.hits.shower + self.distance_H / scale, kind="stable")
        return self.distance_H[order], np.cumsum(self.image.hits.deposits[order], dtype=np.float64)

    def radius_of(self, fraction: float) -> Array:
        """Return the smallest distance from the axis within which this fraction of the deposit lies, mm (N,)."""
        hits = self.image.hits
        distance, running = self._outwards
        before = np.concatenate([[0.0], running])[hits.offsets[:-1]]
        total = np.concatenate([[0.0], running])[hits.offsets[1:]] - before
        # One part in a thousand million less than the fraction: sums of float are not exact.
        wanted = np.searchsorted(running, before + fraction * total * (1 - 1e-9))
        filled = np.diff(hits.offsets) > 0
        out = np.full(len(hits), np.nan)
        out[filled] = distance[np.minimum(wanted[filled], hits.offsets[1:][filled] - 1)]
        return out

    def layers(self) -> tuple[Array, Array, Array, Array]:
        """Return barycentre x, y and width in x, y of each layer, mm: four times (N, layers), NaN if empty."""
        hits, n = self.image.hits, self.image.grid.n_layers
        energy = hits.sum(hits.deposits, self._layer, n)
        found = []
        for xy in self._cell_xy:
            mean = divide(hits.sum(hits.deposits * xy, self._layer, n), energy)
            far = xy - np.nan_to_num(mean)[hits.shower, self._layer]
            square = divide(hits.sum(hits.deposits * far**2, self._layer, n), energy)
            found.append((mean, np.sqrt(square)))
        (x, width_x), (y, width_y) = found
        return x, y, width_x, width_y
