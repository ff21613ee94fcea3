"""Which plots a report has, by topic: one place to read and to extend the list."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caloforge.io.shower_file import ShowerFile
from caloforge.physics.comparison import Comparison
from caloforge.physics.histograms import (
    Plot,
    angle_maps,
    display,
    distribution,
    profile,
    spectrum,
    trend,
)
from caloforge.showers import Conditions
from caloforge.units import DEGREE

__all__ = ["TOPICS", "catalogue", "displays"]

TOPICS = ("Energy", "Profiles", "Moments", "Depth", "Cells", "Angle", "Event displays")
"""Sections of a report, in order."""

DISPLAY_QUANTILES = (0.1, 0.5, 0.9)


def catalogue(compared: Comparison) -> list[Plot]:
    """Make every plot of a comparison that its data can fill, topic by topic."""
    made = [plot for plot in _all(compared) if plot is not None]
    return sorted(made, key=lambda plot: TOPICS.index(plot.topic))


def _all(compared: Comparison) -> Iterator[Plot | None]:
    selections = compared.reference.selections
    names = compared.scalars
    tilted = bool(np.ptp(compared.reference.conditions.incident_theta) > DEGREE)

    yield distribution(compared, "total_deposit", "Energy")
    yield distribution(compared, "total_deposit", "Energy", log=True)
    yield distribution(compared, "sampling_fraction", "Energy")
    yield trend(compared, "sampling_fraction", "Energy")
    yield trend(compared, "sampling_fraction", "Energy", relative_spread=True)

    for axis in compared.reference.grid.axes:
        for index in range(len(selections)):
            yield profile(compared, axis, index)
            yield profile(compared, axis, index, log=True)
        for order in (1, 2, 3):
            yield distribution(compared, f"moment{order}_{axis}", "Moments")
        yield distribution(compared, f"maximum_{axis}", "Profiles")
        yield trend(compared, f"moment2_{axis}", "Moments")

    for name in ("width_x", "width_y", "width_across", "length"):
        yield distribution(compared, name, "Moments") if name in names else None
    for name in ("fraction_front", "fraction_middle", "fraction_back"):
        yield distribution(compared, name, "Depth")
        yield trend(compared, name, "Depth")
    yield trend(compared, f"moment1_{compared.reference.grid.axes[2]}", "Depth")
    yield distribution(compared, "barycentre_depth", "Depth") if "barycentre_depth" in names else None

    yield spectrum(compared)
    for name in ("hits", "hits_300keV"):
        yield distribution(compared, name, "Cells")
        yield trend(compared, name, "Cells")

    for name in ("measured_angle", "axis_angle"):
        if name in names:
            yield distribution(compared, name, "Angle")
            if tilted:
                yield angle_maps(compared, name)
                yield trend(compared, name, "Angle", against="angle")

    for index, selection in enumerate(selections):
        if selection.kind == "all":
            continue
        if np.isinf(selection.theta[1]):
            for name, topic in (
                ("total_deposit", "Energy"),
                ("sampling_fraction", "Energy"),
                ("hits", "Cells"),
                ("hits_300keV", "Cells"),
            ):
                yield distribution(compared, name, topic, index)
            yield spectrum(compared, index)
        elif "measured_angle" in names:
            yield distribution(compared, "measured_angle", "Angle", index)


def displays(reference: ShowerFile, candidate: ShowerFile, threshold_MeV: float) -> Iterator[Plot]:
    """Draw showers of a low, a middle and a high energy, one of each file, as alike as can be."""
    ours, theirs = reference.conditions, candidate.conditions
    low = max(ours.incident_energy.min(), theirs.incident_energy.min())
    high = min(ours.incident_energy.max(), theirs.incident_energy.max())
    shared = (ours.incident_energy >= low) & (ours.incident_energy <= high)
    energies = ours.incident_energy[shared] if shared.any() else ours.incident_energy
    for number, energy in enumerate(np.quantile(energies, DISPLAY_QUANTILES), 1):
        first = int(np.argmin(np.abs(ours.incident_energy - energy)))
        second = _nearest(theirs, ours[first : first + 1])
        pair = [
            file.read(index, index + 1).above(threshold_MeV)
            for file, index in ((reference, first), (candidate, second))
        ]
        yield display(f"display_{number}", pair[0], pair[1])


def _nearest(conditions: Conditions, wanted: Conditions) -> int:
    """Find the shower whose incident energy (relative) and angle (rad) are nearest to one shower's."""
    energy = np.log(conditions.incident_energy / wanted.incident_energy)
    return int(np.argmin(np.abs(energy) + np.abs(conditions.incident_theta - wanted.incident_theta)))
