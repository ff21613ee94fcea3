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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.observables.image import (
    SPECTRUM_EDGES_MEV,
    Deposits,
    Image,
    divide,
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

HIGHER_MEV = (1, 10, 100)
"""Further thresholds at which hits are counted."""

CONTAINED = 0.9
"""The fraction of the deposit that ``radius_90`` contains."""


@dataclass(frozen=True)
class Definition:
    """What an observable is: ``title``, ``unit`` ("1" if none), and its exact ``meaning`` and source.

    ``discrete`` marks whole numbers. ``along`` names the axis of an observable with one value per
    cell, layer or bin; it is empty for one value a shower. ``learned`` marks what a comparison learns
    from its two files and :func:`observables` does not give.
    """

    title: str
    unit: str
    meaning: str
    discrete: bool = False
    along: str = ""
    learned: bool = False

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
        f"hits_{threshold}MeV": Definition(
            f"Hits above {threshold} MeV", "cells", f"Cells above {threshold} MeV.", discrete=True
        )
        for threshold in HIGHER_MEV
    },
    "occupancy": Definition(
        "Occupancy", "1", "Hits over the number of cells; one minus the sparsity (CaloChallenge)."
    ),
    "largest_fraction": Definition(
        "Largest cell's share", "1", "Largest deposit of a cell over the total deposit."
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
    "mean_radius": Definition(
        "Mean radius",
        "mm",
        "Mean distance of the deposits from the shower's axis, weighted with their energy. The axis is "
        "the line through the barycentre along the incident direction.",
    ),
    "radius_90": Definition(
        "Radius of 90 %", "mm", "Smallest distance from the axis within which 90 % of the deposit lies."
    ),
    "radial_profile": Definition(
        "Deposit around the axis",
        "MeV",
        "Deposit in rings around the shower's axis, each as wide as a cell; beyond the image's half "
        "width nothing counts.",
        along="radius",
    ),
    "barycentre_x": Definition(
        "Barycentre in x",
        "mm",
        "Mean x of the deposits from the centre of the central cell, or of the cylinder (CaloChallenge).",
    ),
    "barycentre_y": Definition(
        "Barycentre in y", "mm", "The same in y (CaloChallenge: centre of energy)."
    ),
    "offset_x": Definition(
        "Barycentre from the impact point in x",
        "mm",
        "Barycentre in x minus the impact point, where known.",
    ),
    "offset_y": Definition(
        "Barycentre from the impact point in y",
        "mm",
        "Barycentre in y minus where the incident particle's line passes at the barycentre's depth.",
    ),
    "layer_x": Definition(
        "Barycentre of the layer in x",
        "mm",
        "Mean x of a layer's deposits, undefined where it is empty (CaloChallenge).",
        along="depth",
    ),
    "layer_y": Definition(
        "Barycentre of the layer in y", "mm", "The same in y (CaloChallenge).", along="depth"
    ),
    "layer_width_x": Definition(
        "Width of the layer in x",
        "mm",
        "Standard deviation of x over a layer's deposits (CaloChallenge).",
        along="depth",
    ),
    "layer_width_y": Definition(
        "Width of the layer in y", "mm", "The same in y (CaloChallenge).", along="depth"
    ),
    "layer_sparsity": Definition(
        "Sparsity of the layer",
        "1",
        "Fraction of a layer's cells below the read-out threshold (CaloChallenge).",
        along="depth",
    ),
    "barycentre_depth": Definition(
        "Longitudinal barycentre",
        "mm",
        "(Moment 1 in depth + 1/2) times the layer pitch: depth of the barycentre below the face.",
    ),
    "length": Definition(
        "Longitudinal spread", "mm", "Square root of moment 2 in depth, times the layer pitch."
    ),
    "first_layer": Definition(
        "First layer", "layer", "First layer with a deposit; layers count from 0.", discrete=True
    ),
    "peak_layer": Definition(
        "Shower maximum", "layer", "Layer with the largest deposit; layers count from 0.", discrete=True
    ),
    "leakage": Definition(
        "Fraction in the last layer",
        "1",
        "Deposit in the last layer over the total: how much leaves behind it.",
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
    "angle_error": Definition(
        "Error of the axis' angle", "rad", "Angle of the shower's axis minus the incident angle."
    ),
    "reconstructed_energy": Definition(
        "Reconstructed energy",
        "MeV",
        "Incident energy as a regression trained on the reference reads it from the observables; stands "
        "for the energy that 3DGAN's discriminator gives.",
        learned=True,
    ),
    "energy_error": Definition(
        "Relative error of the reconstructed energy",
        "1",
        "Reconstructed energy over incident energy, minus one (3DGAN).",
        learned=True,
    ),
    "score_low": Definition(
        "Score of the classifier on cells",
        "1",
        "What a classifier that has not seen the shower takes it for: 0 reference, 1 candidate (3DGAN "
        "shows the discriminator's).",
        learned=True,
    ),
    "score_high": Definition(
        "Score of the classifier on observables", "1", "The same for the other classifier.", learned=True
    ),
    "cell_energy": Definition(
        "Cell energy",
        "cells",
        "Cells per shower in bins of log10 of the deposit in MeV, ten bins a decade (3DGAN, MDMA).",
        along="energy",
    ),
}
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
        "hits_300keV": image.hits_above(HIT_MEV),
        "occupancy": hits_NZ.sum(axis=1) / grid.n_cells,
        "largest_fraction": divide(image.largest(), image.total_N),
        "layer_sparsity": 1 - hits_NZ * grid.n_layers / grid.n_cells,
        "leakage": divide(depth[:, -1], image.total_N),
        "first_layer": _where_filled(image, (depth > 0).argmax(axis=1)),
        "peak_layer": _where_filled(image, depth.argmax(axis=1)),
        "cell_energy": image.cell_spectrum(),
    }
    values |= {f"hits_{threshold}MeV": image.hits_above(threshold) for threshold in HIGHER_MEV}
    for axis, profile, maximum in zip(grid.axes, profiles, image.maxima(), strict=True):
        values[f"profile_{axis}"] = profile
        values[f"maximum_{axis}"] = maximum
        values |= {f"moment{order}_{axis}": moment(profile, order) for order in (1, 2, 3)}
    cuts = (0, grid.n_layers // 3, 2 * grid.n_layers // 3, grid.n_layers)
    for name, low, high in zip(("front", "middle", "back"), cuts[:-1], cuts[1:], strict=True):
        values[f"fraction_{name}"] = divide(depth[:, low:high].sum(axis=1), image.total_N)
    if grid.layer_pitch_mm is not None:
        values["barycentre_depth"] = grid.layer_pitch_mm * (moment(depth, 1) + 0.5)
        values["length"] = grid.layer_pitch_mm * np.sqrt(moment(depth, 2))
    if grid.cell_size is not None:
        values |= _in_mm(image, grid.cell_size)
    if grid.cartesian:
        x_NZ, y_NZ = image.layer_barycentres
        values["measured_angle"] = measured_angle(x_NZ, y_NZ, depth)
        if grid.cell_size is not None and grid.layer_pitch_mm is not None:
            scale_x, scale_y = (size / grid.layer_pitch_mm for size in grid.cell_size)
            values["axis_angle"] = measured_angle(scale_x * x_NZ, scale_y * y_NZ, depth)
            values["angle_error"] = values["axis_angle"] - showers.incident_theta
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
        "radius_90": lengths.radius_of(CONTAINED),
        "radial_profile": lengths.rings(),
        "barycentre_x": x_N,
        "barycentre_y": y_N,
    }
    names = ("layer_x", "layer_y", "layer_width_x", "layer_width_y")
    values |= dict(zip(names, lengths.layers(), strict=True))
    if grid.cartesian:
        for axis, size, profile in zip("xy", cell_size, image.profiles[:2], strict=True):
            values[f"width_{axis}"] = size * np.sqrt(moment(profile, 2))
    if showers.impact_xy is not None:
        depth_N = (grid.layer_pitch_mm or 0.0) * (moment(image.profiles[2], 1) + 0.5)
        impact_x_N, impact_y_N = showers.impact_xy.astype(np.float64).T
        values["offset_x"] = x_N - impact_x_N
        values["offset_y"] = y_N - impact_y_N - depth_N * lengths.cotangent
    return values


def mean_profiles(showers: Deposits) -> dict[str, Array]:
    """Mean deposit along each axis, MeV a cell index, by the axis' name: a cheap check of shape."""
    profiles = Image(showers).profiles
    return {
        axis: profile.sum(axis=0) / max(1, len(showers))
        for axis, profile in zip(showers.grid.axes, profiles, strict=True)
    }


def sampling_fraction_by_energy(showers: Deposits, edges_MeV: Array) -> Array:
    """Mean sampling fraction in each bin of incident energy; NaN in a bin without showers."""
    fraction_N = Image(showers).total_N / showers.incident_energy
    bin_N = np.digitize(showers.incident_energy, edges_MeV) - 1
    inside = (bin_N >= 0) & (bin_N < len(edges_MeV) - 1)
    counts = np.bincount(bin_N[inside], minlength=len(edges_MeV) - 1)
    sums = np.bincount(bin_N[inside], fraction_N[inside], minlength=len(edges_MeV) - 1)
    return divide(sums, counts)
