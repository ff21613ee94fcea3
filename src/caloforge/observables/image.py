"""What one pass over a chunk of showers gives: projections, profiles, hits, and lengths in mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.observables.sparse_showers import SparseShowers

__all__ = [
    "SPECTRUM_EDGES_MEV",
    "Deposits",
    "Image",
    "divide",
    "mean_and_spread",
    "measured_angle",
    "moment",
]

Array = NDArray[np.float64]

SPECTRUM_EDGES_MEV = np.logspace(-6, 6, 121)
"""Bins of the cell energy spectrum: ten a decade; deposits beyond count in the outermost bins."""


def divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> Array:
    """Divide; NaN where the denominator is zero."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def moment(profile_NI: Array, order: int) -> Array:
    """Return the moment of a profile (N, n) in cells: the mean index for order 1, else a central moment."""
    index_I = np.arange(profile_NI.shape[1], dtype=np.float64)
    total_N = profile_NI.sum(axis=1)
    mean_N = divide(profile_NI @ index_I, total_N)
    if order == 1:
        return mean_N
    distance_NI = index_I - np.nan_to_num(mean_N)[:, None]
    return divide((profile_NI * distance_NI**order).sum(axis=1), total_N)


def mean_and_spread(profile_NI: Array, place_I: Sequence[float] | Array) -> tuple[Array, Array]:
    """Return the mean place and the root mean square distance from it, (N,), of a profile (N, n) over places."""
    total_N, at_I = profile_NI.sum(axis=1), np.asarray(place_I, np.float64)
    mean_N = divide(profile_NI @ at_I, total_N)
    distance_NI = at_I - np.nan_to_num(mean_N)[:, None]
    return mean_N, np.sqrt(divide((profile_NI * distance_NI**2).sum(axis=1), total_N))


def measured_angle(
    layer_x_NZ: Array,
    layer_y_NZ: Array,
    layer_energy_NZ: Array,
    depth_Z: Sequence[float] | None = None,
) -> Array:
    """Return the angle of a shower to the face in the y-z plane (N,), rad, as the 3DGAN papers measure it.

    Takes each layer's barycentre (anything where the layer is empty) and energy, and its depth in the same unit:
    with cells, the layer's number. With (x, y, z) the shower's barycentre, each layer with energy gives
    m = (y_z - y) / sqrt((x_z - x)^2 + (z - z_bar)^2), negated where z < z_bar, and
    theta_z = pi/2 - atan(m); the angle is sum z theta_z / sum z, z being the layer's number here. A layer that lies on the barycentre
    has no direction and is left out. NaN where no layer is left.
    """
    layer_Z = np.arange(layer_energy_NZ.shape[1], dtype=np.float64)
    z_Z = layer_Z if depth_Z is None else np.asarray(depth_Z, np.float64)
    total_N = layer_energy_NZ.sum(axis=1)
    x_N, y_N, z_N = (
        np.nan_to_num(divide((layer_energy_NZ * np.nan_to_num(values)).sum(axis=1), total_N))
        for values in (layer_x_NZ, layer_y_NZ, z_Z)
    )
    below_NZ = z_Z - z_N[:, None]
    distance_NZ = np.hypot(np.nan_to_num(layer_x_NZ) - x_N[:, None], below_NZ)
    seen_NZ = (layer_energy_NZ > 0) & (distance_NZ > 1e-6)
    slope_NZ = np.zeros_like(distance_NZ)
    np.divide(np.nan_to_num(layer_y_NZ) - y_N[:, None], distance_NZ, out=slope_NZ, where=seen_NZ)
    theta_NZ = np.pi / 2 - np.arctan(np.where(below_NZ < 0, -slope_NZ, slope_NZ))
    weight_NZ = np.where(seen_NZ, layer_Z, 0.0)
    return divide((weight_NZ * theta_NZ).sum(axis=1), weight_NZ.sum(axis=1))


class Deposits(Protocol):
    """What observables need of showers: see :class:`caloforge.showers.Showers`, which has it."""

    @property
    def deposits(self) -> NDArray[np.float32]:
        """Deposits (N, nx, ny, nz) in MeV."""

    @property
    def incident_energy(self) -> NDArray[np.float32]:
        """Kinetic energies (N,) in MeV."""

    @property
    def incident_theta(self) -> NDArray[np.float32]:
        """Angles to the face (N,) in rad."""

    @property
    def incident_phi(self) -> NDArray[np.float32] | None:
        """Azimuths of the directions (N,) in rad; pi/2 where there are none."""

    @property
    def impact_xy(self) -> NDArray[np.float32] | None:
        """Impact points (N, 2) in mm, where known."""

    @property
    def grid(self) -> Grid:
        """The read-out grid."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Image:
    """Showers reduced once to what the observables share: projections and profiles, in MeV."""

    showers: Deposits

    @property
    def grid(self) -> Grid:
        """The grid of the showers."""
        return self.showers.grid

    @cached_property
    def first_depth_NXZ(self) -> NDArray[np.float32]:
        """Projection onto the first axis and depth."""
        return np.asarray(self.showers.deposits.sum(axis=2))

    @cached_property
    def second_depth_NYZ(self) -> NDArray[np.float32]:
        """Projection onto the second axis and depth."""
        return np.asarray(self.showers.deposits.sum(axis=1))

    @cached_property
    def profiles(self) -> tuple[Array, Array, Array]:
        """Sums along each axis: (N, n_1), (N, n_2), (N, layers)."""
        return (
            self.first_depth_NXZ.sum(axis=2, dtype=np.float64),
            self.second_depth_NYZ.sum(axis=2, dtype=np.float64),
            self.first_depth_NXZ.sum(axis=1, dtype=np.float64),
        )

    @cached_property
    def total_N(self) -> Array:
        """Total deposit, MeV."""
        return np.asarray(self.profiles[2].sum(axis=1))

    def maxima(self) -> NDArray[np.float64]:
        """Find the cell with the largest deposit: its indices (3, N), NaN without deposit."""
        flat = self.showers.deposits.reshape(len(self.showers), self.grid.n_cells)
        cell_N = flat.argmax(axis=1)
        found = np.array(np.unravel_index(cell_N, self.grid.shape), dtype=np.float64)
        return np.where(np.take_along_axis(flat, cell_N[:, None], 1)[:, 0] > 0, found, np.nan)

    @cached_property
    def hits(self) -> SparseShowers:
        """The filled cells, as a list."""
        return SparseShowers.of(self.showers.deposits)

    def hits_above(self, threshold_MeV: float) -> Array:
        """Count the cells with a positive deposit of at least this much, (N,)."""
        above = self.hits.shower[self.hits.deposits >= threshold_MeV]
        return np.bincount(above, minlength=len(self.showers)).astype(np.float64)

    def layer_hits(self) -> Array:
        """Count the cells of each layer with a deposit of at least the read-out threshold, (N, layers)."""
        seen = self.hits.deposits >= self.grid.threshold_MeV
        n = self.grid.n_layers
        return self.hits.sum(seen, self.hits.cells % n, n)

    def largest(self) -> Array:
        """Find the largest deposit of a cell, MeV (N,)."""
        flat = self.showers.deposits.reshape(len(self.showers), self.grid.n_cells)
        return np.asarray(flat.max(axis=1), np.float64)

    @cached_property
    def layer_barycentres(self) -> tuple[Array, Array]:
        """Barycentre of each layer along the first two axes, in cells: twice (N, layers)."""
        planes = (self.first_depth_NXZ, self.second_depth_NYZ)
        first, second = (
            np.einsum("niz,i->nz", plane, np.arange(plane.shape[1], dtype=np.float64))
            for plane in planes
        )
        return divide(first, self.profiles[2]), divide(second, self.profiles[2])

    def width_across(self, cell_size: tuple[float, float]) -> Array:
        """Return the root mean square distance from the barycentre across the shower (N,), mm."""
        if self.grid.cartesian:
            size_x, size_y = cell_size
            first, second, _ = self.profiles
            return np.sqrt(moment(first, 2) * size_x**2 + moment(second, 2) * size_y**2)
        across = self.showers.deposits.sum(axis=3, dtype=np.float64)
        n_r, n_phi, _ = self.grid.shape
        r = (np.arange(n_r) + 0.5) * cell_size[0]
        phi = (np.arange(n_phi) + 0.5) * cell_size[1]
        x, y, square = (
            divide(np.einsum("nrp,r,p->n", across, radius, angle), self.total_N)
            for radius, angle in ((r, np.cos(phi)), (r, np.sin(phi)), (r**2, np.ones(n_phi)))
        )
        return np.sqrt(np.maximum(square - x**2 - y**2, 0.0))

    def cell_spectrum(self) -> Array:
        """Count each shower's cells in the bins of :data:`SPECTRUM_EDGES_MEV`, (N, 120)."""
        n_bins = len(SPECTRUM_EDGES_MEV) - 1
        place = np.floor((np.log10(self.hits.deposits) + 6.0) * 10.0).astype(np.int64)
        return self.hits.sum(np.ones(len(place)), np.clip(place, 0, n_bins - 1), n_bins)
