"""Observables of showers: one definition each, arrays in, arrays out.

Everything here is numpy alone, so that the training loop's check of each epoch, validation and
search measure with the same functions. A shower without any deposit has total deposit, sampling
fraction and hits of zero; what is undefined for it (positions, widths, fractions) is NaN.

What each is, and its source, stands in ``definitions.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector.radiation_lengths import depths_X0
from caloforge.observables.image import (
    SPECTRUM_EDGES_MEV,
    Deposits,
    Image,
    divide,
    mean_and_spread,
    measured_angle,
    moment,
)
from caloforge.observables.lengths import Lengths

__all__ = [
    "HIT_MEV",
    "OBSERVABLES",
    "SPECTRUM_EDGES_MEV",
    "Definition",
    "mean_profiles",
    "observables",
    "sampling_fraction_by_energy",
]

Array = NDArray[np.float64]

HIT_MEV = 0.3
"""The published threshold of a hit, 3e-4 GeV."""

THRESHOLDS_MEV = {"100keV": 0.1, "300keV": HIT_MEV, "1MeV": 1.0, "10MeV": 10.0, "100MeV": 100.0}
"""Thresholds at which hits are counted, as their observables are named."""

AXES = ("x", "y", "z", "r", "phi", "layer")

CONTAINED = {"radius_90": 0.9, "radius_95": 0.95}
"""The fractions of the deposit that lie within these radii."""


@dataclass(frozen=True)
class Definition:
    """What an observable is: ``title``, ``unit`` ("1" if none), and its exact ``meaning`` and source.

    ``discrete`` marks whole numbers. ``along`` names the axis of an observable with one value per
    cell, layer or bin; it is empty for one value a shower. ``learned`` marks what a comparison learns
    from its two files and :func:`observables` does not give. ``derived`` marks what classifiers and distances
    do not see: it came later, says little that others do not, and would change their numbers.
    """

    title: str
    unit: str
    meaning: str
    discrete: bool = False
    along: str = ""
    learned: bool = False
    derived: bool = False

    @property
    def label(self) -> str:
        """Axis label: the title, and the unit in brackets."""
        return self.title if self.unit == "1" else f"{self.title} [{self.unit}]"


def _read() -> Iterator[tuple[str, Definition]]:
    """Read the definitions that come with the package; those of an axis come once for each axis."""
    text = (resources.files("caloforge.observables") / "definitions.toml").read_text(encoding="utf-8")
    for of_an_axis, group in groupby(tomllib.loads(text).items(), lambda entry: "{axis}" in entry[0]):
        entries = list(group)
        for axis in AXES if of_an_axis else ("",):
            for name, fields in entries:
                texts = {
                    key: value.format(axis=axis) for key, value in fields.items() if value is not True
                }
                yield name.format(axis=axis), Definition(**{**fields, **texts})


OBSERVABLES = dict(_read())
"""Every observable by name. A grid has those of its own axes; those in mm need its cell sizes."""


def observables(showers: Deposits) -> dict[str, NDArray[Any]]:
    """Compute every observable of :data:`OBSERVABLES` that the showers' grid has, by name.

    Most are (N,); those along an axis are (N, n). Hits are counted above the grid's read-out
    threshold; nothing else is cut, so :meth:`Showers.above` comes first where the threshold should
    hold for all.
    """
    image, grid = Image(showers), showers.grid
    profiles, depth = image.profiles, image.profiles[2]
    energy_N = showers.incident_energy.astype(np.float64)
    hits_NZ = image.layer_hits()
    values: dict[str, NDArray[Any]] = {
        "total_deposit": image.total_N,
        "sampling_fraction": image.total_N / energy_N,
        "hits": hits_NZ.sum(axis=1),
        "occupancy": hits_NZ.sum(axis=1) / grid.n_cells,
        "largest_fraction": divide(image.largest(), image.total_N),
        "layer_sparsity": 1 - hits_NZ * grid.n_layers / grid.n_cells,
        "leakage": divide(depth[:, -1], image.total_N),
        "first_layer": _where_filled(image, (depth > 0).argmax(axis=1)),
        "peak_layer": _where_filled(image, depth.argmax(axis=1)),
        "cell_energy": image.cell_spectrum(),
    }
    values |= {f"hits_{name}": image.hits_above(limit) for name, limit in THRESHOLDS_MEV.items()}
    for axis, profile, maximum in zip(grid.axes, profiles, image.maxima(), strict=True):
        values[f"profile_{axis}"] = profile
        values[f"maximum_{axis}"] = maximum
        values |= {f"moment{order}_{axis}": moment(profile, order) for order in (1, 2, 3)}
    cuts = (0, grid.n_layers // 3, 2 * grid.n_layers // 3, grid.n_layers)
    for name, low, high in zip(("front", "middle", "back"), cuts[:-1], cuts[1:], strict=True):
        values[f"fraction_{name}"] = divide(depth[:, low:high].sum(axis=1), image.total_N)
    if grid.depths_mm is not None:
        values["barycentre_depth"], values["length"] = mean_and_spread(depth, grid.depths_mm)
    if (depth_X0 := depths_X0(grid)) is not None:
        values["barycentre_X0"] = divide(depth @ np.array(depth_X0), image.total_N)
    if grid.cell_size is not None:
        values |= _in_mm(image, grid.cell_size)
    if grid.cartesian:
        x_NZ, y_NZ = image.layer_barycentres
        values["measured_angle"] = measured_angle(x_NZ, y_NZ, depth)
        if grid.cell_size is not None and grid.depths_mm is not None:
            lines = grid.cell_size[0] * x_NZ, grid.cell_size[1] * y_NZ
            values["axis_angle"] = measured_angle(*lines, depth, grid.depths_mm)
            values["axis_angle_x"] = measured_angle(*lines[::-1], depth, grid.depths_mm)
            slope_x_N, slope_y_N = Lengths(image).slopes
            # What measured_angle gives of a straight line.
            true_N = np.pi / 2 - np.arctan(slope_y_N / np.hypot(1, slope_x_N))
            true_x_N = np.pi / 2 - np.arctan(slope_x_N / np.hypot(1, slope_y_N))
            values["angle_error"] = values["axis_angle"] - true_N
            values["angle_error_x"] = values["axis_angle_x"] - true_x_N
    return {name: values[name] for name in OBSERVABLES if name in values}


def _where_filled(image: Image, index_N: NDArray[np.intp]) -> Array:
    """Return an index, NaN for a shower without deposit."""
    return np.where(image.total_N > 0, index_N, np.nan)


def _in_mm(image: Image, cell_size: tuple[float, float]) -> dict[str, Array]:
    """Compute what is measured in mm across the shower."""
    showers, grid = image.showers, image.grid
    lengths = Lengths(image)
    x_N, y_N = lengths.barycentre
    values = {
        "width_across": image.width_across(cell_size),
        "mean_radius": lengths.mean_radius(),
        "radial_profile": lengths.rings(),
        "barycentre_x": x_N,
        "barycentre_y": y_N,
    }
    values |= {name: lengths.radius_of(fraction) for name, fraction in CONTAINED.items()}
    names = ("layer_x", "layer_y", "layer_width_x", "layer_width_y")
    values |= dict(zip(names, lengths.layers(), strict=True))
    if grid.cartesian:
        for axis, size, profile in zip("xy", cell_size, image.profiles[:2], strict=True):
            values[f"width_{axis}"] = size * np.sqrt(moment(profile, 2))
    if showers.impact_xy is not None:
        depth_N = mean_and_spread(image.profiles[2], grid.depths_mm or [0.0] * grid.n_layers)[0]
        impact_x_N, impact_y_N = showers.impact_xy.astype(np.float64).T
        slope_x_N, slope_y_N = lengths.slopes
        values["offset_x"] = x_N - impact_x_N - depth_N * slope_x_N
        values["offset_y"] = y_N - impact_y_N - depth_N * slope_y_N
    return values


def mean_profiles(showers: Deposits) -> dict[str, Array]:
    """Return the mean deposit along each axis, MeV a cell index, by the axis' name: a cheap check of shape."""
    profiles = Image(showers).profiles
    return {
        axis: profile.sum(axis=0) / max(1, len(showers))
        for axis, profile in zip(showers.grid.axes, profiles, strict=True)
    }


def sampling_fraction_by_energy(showers: Deposits, edges_MeV: Array) -> Array:
    """Return the mean sampling fraction in each bin of incident energy; NaN in a bin without showers."""
    fraction_N = Image(showers).total_N / showers.incident_energy
    bin_N = np.digitize(showers.incident_energy, edges_MeV) - 1
    inside = (bin_N >= 0) & (bin_N < len(edges_MeV) - 1)
    counts = np.bincount(bin_N[inside], minlength=len(edges_MeV) - 1)
    sums = np.bincount(bin_N[inside], fraction_N[inside], minlength=len(edges_MeV) - 1)
    return divide(sums, counts)
