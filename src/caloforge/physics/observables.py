"""Observables of showers: one definition each, arrays in, arrays out.

Everything here is numpy alone, so that the training loop's check of each epoch, validation and
search measure with the same functions. A shower without any deposit has total deposit, sampling
fraction and hits of zero; what is undefined for it (positions, widths, fractions) is NaN.

Sources: "3DGAN" is the published validation of the CLIC network (Khattak et al., Eur. Phys. J. C 82
(2022) 386, and its public code); "CaloChallenge" is Krause et al., arXiv:2410.21611.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.showers import Showers

__all__ = [
    "HIT_MEV",
    "OBSERVABLES",
    "SPECTRUM_EDGES_MEV",
    "Definition",
    "Image",
    "mean_profiles",
    "measured_angle",
    "moment",
    "observables",
    "sampling_fraction_by_energy",
]

Array = NDArray[np.float64]

HIT_MEV = 0.3
"""The published threshold of a hit, 3e-4 GeV."""

SPECTRUM_EDGES_MEV = np.logspace(-6, 6, 121)
"""Bins of the cell energy spectrum: ten a decade; deposits beyond count in the outermost bins."""


@dataclass(frozen=True)
class Definition:
    """What an observable is: ``title``, ``unit`` ("1" if none), and its exact ``meaning`` and source.

    ``discrete`` marks whole numbers. ``along`` names the axis of an observable with one value per
    cell or bin; it is empty for one value a shower.
    """

    title: str
    unit: str
    meaning: str
    discrete: bool = False
    along: str = ""

    @property
    def label(self) -> str:
        """Axis label: the title, and the unit in brackets."""
        return self.title if self.unit == "1" else f"{self.title} [{self.unit}]"


def _of_axis(axis: str) -> Iterator[tuple[str, Definition]]:
    """Definitions of what exists along each axis of a grid."""
    sum_i = f"S_i is the deposit in the cells with index i along {axis}"
    yield (
        f"profile_{axis}",
        Definition(f"Deposit along {axis}", "MeV", f"{sum_i} (3DGAN, 'shape').", along=axis),
    )
    yield (
        f"maximum_{axis}",
        Definition(
            f"Position of the maximum in {axis}",
            "cell",
            f"Index along {axis} of the cell with the largest deposit (3DGAN).",
            discrete=True,
        ),
    )
    meaning = {
        1: f"sum i S_i / sum S_i, where {sum_i}; i counts from 0 (3DGAN).",
        2: f"Central second moment along {axis}, from the same S_i: a variance (3DGAN).",
        3: f"Central third moment along {axis}, from the same S_i, not divided by the width (3DGAN).",
    }
    for order, unit in ((1, "cell"), (2, "cell²"), (3, "cell³")):
        yield f"moment{order}_{axis}", Definition(f"Moment {order} in {axis}", unit, meaning[order])


OBSERVABLES: dict[str, Definition] = {
    "total_deposit": Definition("Total deposit", "MeV", "Sum of all cells (3DGAN, 'Ecal')."),
    "sampling_fraction": Definition(
        "Sampling fraction", "1", "Total deposit / incident energy (3DGAN, 'Ecal/Ep')."
    ),
    "hits": Definition("Hits", "cells", "Cells above the read-out threshold (3DGAN).", discrete=True),
    "hits_300keV": Definition(
        "Hits above 0.3 MeV", "cells", "Cells above 3e-4 GeV, the published hit (3DGAN).", discrete=True
    ),
    **{
        name: definition
        for axis in ("x", "y", "z", "r", "phi", "layer")
        for name, definition in _of_axis(axis)
    },
    "width_x": Definition(
        "Width in x", "mm", "Square root of moment 2 in x, times the cell size (CaloChallenge)."
    ),
    "width_y": Definition(
        "Width in y", "mm", "Square root of moment 2 in y, times the cell size (CaloChallenge)."
    ),
    "width_across": Definition(
        "Width across",
        "mm",
        "Root mean square distance of the deposits from their barycentre, in the plane of the first "
        "two axes.",
    ),
    "barycentre_depth": Definition(
        "Longitudinal barycentre",
        "mm",
        "(Moment 1 in depth + 1/2) times the layer pitch: depth of the barycentre below the face.",
    ),
    "length": Definition(
        "Longitudinal spread", "mm", "Square root of moment 2 in depth, times the layer pitch."
    ),
    "fraction_front": Definition(
        "Energy fraction in the first third",
        "1",
        "Deposit in layers 0 to n/3 (rounded down) over the total (3DGAN).",
    ),
    "fraction_middle": Definition(
        "Energy fraction in the middle third", "1", "The same in layers n/3 to 2n/3 (3DGAN)."
    ),
    "fraction_back": Definition(
        "Energy fraction in the last third", "1", "The same in layers 2n/3 to n (3DGAN)."
    ),
    "measured_angle": Definition(
        "Measured angle",
        "rad",
        "Mean inclination of the layers' barycentres seen from the shower's, weighted with the layer's "
        "index, in units of cells (3DGAN; see measured_angle). Cells are not cubes, so it follows the "
        "incident angle without being equal to it.",
    ),
    "axis_angle": Definition(
        "Angle of the shower's axis",
        "rad",
        "The measured angle with lengths in mm instead of cells, so that it can be compared with the "
        "incident angle.",
    ),
    "cell_energy": Definition(
        "Cell energy",
        "cells",
        "Cells per shower in bins of log10 of the deposit in MeV, ten bins a decade (3DGAN, MDMA).",
        along="energy",
    ),
}
"""Every observable by name. A grid has those of its own axes; those in mm need its cell sizes."""


def _divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> Array:
    """Divide; NaN where the denominator is zero."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def moment(profile_NI: Array, order: int) -> Array:
    """Moment of a profile (N, n) in cells: the mean index for order 1, else a central moment."""
    index_I = np.arange(profile_NI.shape[1], dtype=np.float64)
    total_N = profile_NI.sum(axis=1)
    mean_N = _divide(profile_NI @ index_I, total_N)
    if order == 1:
        return mean_N
    distance_NI = index_I - np.nan_to_num(mean_N)[:, None]
    return _divide((profile_NI * distance_NI**order).sum(axis=1), total_N)


def measured_angle(layer_x_NZ: Array, layer_y_NZ: Array, layer_energy_NZ: Array) -> Array:
    """Angle of a shower to the face in the y-z plane (N,), rad, as the 3DGAN papers measure it.

    Takes each layer's barycentre in cells (anything where the layer is empty) and energy. With
    (x, y, z) the shower's barycentre, each layer with energy gives
    m = (y_z - y) / sqrt((x_z - x)^2 + (z - z_bar)^2), negated where z < z_bar, and
    theta_z = pi/2 - atan(m); the angle is sum z theta_z / sum z. A layer that lies on the barycentre
    has no direction and is left out. NaN where no layer is left.
    """
    z_Z = np.arange(layer_energy_NZ.shape[1], dtype=np.float64)
    total_N = layer_energy_NZ.sum(axis=1)
    x_N, y_N, z_N = (
        np.nan_to_num(_divide((layer_energy_NZ * np.nan_to_num(values)).sum(axis=1), total_N))
        for values in (layer_x_NZ, layer_y_NZ, z_Z)
    )
    below_NZ = z_Z - z_N[:, None]
    distance_NZ = np.hypot(np.nan_to_num(layer_x_NZ) - x_N[:, None], below_NZ)
    seen_NZ = (layer_energy_NZ > 0) & (distance_NZ > 1e-6)
    slope_NZ = np.zeros_like(distance_NZ)
    np.divide(np.nan_to_num(layer_y_NZ) - y_N[:, None], distance_NZ, out=slope_NZ, where=seen_NZ)
    theta_NZ = np.pi / 2 - np.arctan(np.where(below_NZ < 0, -slope_NZ, slope_NZ))
    weight_NZ = np.where(seen_NZ, z_Z, 0.0)
    return _divide((weight_NZ * theta_NZ).sum(axis=1), weight_NZ.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Image:
    """Showers reduced once to what the observables share: projections and profiles, in MeV."""

    showers: Showers

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

    def hits_above(self, threshold_MeV: float) -> Array:
        """Count the cells with a positive deposit of at least this much, (N,)."""
        flat = self.showers.deposits.reshape(len(self.showers), self.grid.n_cells)
        above = flat >= threshold_MeV if threshold_MeV > 0 else flat > 0
        return np.asarray(np.count_nonzero(above, axis=1), dtype=np.float64)

    @cached_property
    def layer_barycentres(self) -> tuple[Array, Array]:
        """Barycentre of each layer along the first two axes, in cells: twice (N, layers)."""
        planes = (self.first_depth_NXZ, self.second_depth_NYZ)
        first, second = (
            np.einsum("niz,i->nz", plane, np.arange(plane.shape[1], dtype=np.float64))
            for plane in planes
        )
        return _divide(first, self.profiles[2]), _divide(second, self.profiles[2])

    def width_across(self, cell_size: tuple[float, float]) -> Array:
        """Root mean square distance from the barycentre across the shower (N,), mm."""
        if self.grid.cartesian:
            size_x, size_y = cell_size
            first, second, _ = self.profiles
            return np.sqrt(moment(first, 2) * size_x**2 + moment(second, 2) * size_y**2)
        across = self.showers.deposits.sum(axis=3, dtype=np.float64)
        n_r, n_phi, _ = self.grid.shape
        r = (np.arange(n_r) + 0.5) * cell_size[0]
        phi = (np.arange(n_phi) + 0.5) * cell_size[1]
        x, y, square = (
            _divide(np.einsum("nrp,r,p->n", across, radius, angle), self.total_N)
            for radius, angle in ((r, np.cos(phi)), (r, np.sin(phi)), (r**2, np.ones(n_phi)))
        )
        return np.sqrt(np.maximum(square - x**2 - y**2, 0.0))

    def cell_spectrum(self) -> Array:
        """Count each shower's cells in the bins of :data:`SPECTRUM_EDGES_MEV`, (N, 120)."""
        flat = self.showers.deposits.reshape(len(self.showers), self.grid.n_cells)
        shower, cell = np.nonzero(flat)
        n_bins = len(SPECTRUM_EDGES_MEV) - 1
        place = np.floor((np.log10(flat[shower, cell]) + 6.0) * 10.0).astype(np.int64)
        counts = np.bincount(
            shower * n_bins + np.clip(place, 0, n_bins - 1), minlength=len(flat) * n_bins
        )
        return counts.reshape(len(flat), n_bins).astype(np.float64)


def observables(showers: Showers) -> dict[str, NDArray[Any]]:
    """Compute every observable of :data:`OBSERVABLES` that the showers' grid has, by name.

    Most are (N,); profiles and the cell energy spectrum are (N, n). Hits are counted above the
    grid's read-out threshold; nothing else is cut, so :meth:`Showers.above` comes first where the
    threshold should hold for all.
    """
    image, grid = Image(showers), showers.grid
    profiles = image.profiles
    energy_N = showers.incident_energy.astype(np.float64)
    values: dict[str, NDArray[Any]] = {
        "total_deposit": image.total_N,
        "sampling_fraction": image.total_N / energy_N,
        "hits": image.hits_above(grid.threshold_MeV),
        "hits_300keV": image.hits_above(HIT_MEV),
    }
    for axis, profile, maximum in zip(grid.axes, profiles, image.maxima(), strict=True):
        values[f"profile_{axis}"] = profile
        values[f"maximum_{axis}"] = maximum
        values |= {f"moment{order}_{axis}": moment(profile, order) for order in (1, 2, 3)}
    if grid.cell_size is not None:
        if grid.cartesian:
            for axis, size, profile in zip("xy", grid.cell_size, profiles[:2], strict=True):
                values[f"width_{axis}"] = size * np.sqrt(moment(profile, 2))
        values["width_across"] = image.width_across(grid.cell_size)
    if grid.layer_pitch_mm is not None:
        values["barycentre_depth"] = grid.layer_pitch_mm * (moment(profiles[2], 1) + 0.5)
        values["length"] = grid.layer_pitch_mm * np.sqrt(moment(profiles[2], 2))
    cuts = (0, grid.n_layers // 3, 2 * grid.n_layers // 3, grid.n_layers)
    for name, low, high in zip(("front", "middle", "back"), cuts[:-1], cuts[1:], strict=True):
        values[f"fraction_{name}"] = _divide(profiles[2][:, low:high].sum(axis=1), image.total_N)
    if grid.cartesian:
        x_NZ, y_NZ = image.layer_barycentres
        values["measured_angle"] = measured_angle(x_NZ, y_NZ, profiles[2])
        if grid.cell_size is not None and grid.layer_pitch_mm is not None:
            scale_x, scale_y = (size / grid.layer_pitch_mm for size in grid.cell_size)
            values["axis_angle"] = measured_angle(scale_x * x_NZ, scale_y * y_NZ, profiles[2])
    values["cell_energy"] = image.cell_spectrum()
    return {name: values[name] for name in OBSERVABLES if name in values}


def mean_profiles(showers: Showers) -> dict[str, Array]:
    """Mean deposit along each axis, MeV a cell index, by the axis' name: a cheap check of shape."""
    profiles = Image(showers).profiles
    return {
        axis: profile.sum(axis=0) / max(1, len(showers))
        for axis, profile in zip(showers.grid.axes, profiles, strict=True)
    }


def sampling_fraction_by_energy(showers: Showers, edges_MeV: Array) -> Array:
    """Mean sampling fraction in each bin of incident energy; NaN in a bin without showers."""
    fraction_N = Image(showers).total_N / showers.incident_energy
    bin_N = np.digitize(showers.incident_energy, edges_MeV) - 1
    inside = (bin_N >= 0) & (bin_N < len(edges_MeV) - 1)
    counts = np.bincount(bin_N[inside], minlength=len(edges_MeV) - 1)
    sums = np.bincount(bin_N[inside], fraction_N[inside], minlength=len(edges_MeV) - 1)
    return _divide(sums, counts)
