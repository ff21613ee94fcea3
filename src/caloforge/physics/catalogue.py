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
    selections, axes = compared.reference.selections, compared.reference.grid.axes
    every = range(len(selections))
    by_energy = [i for i in every if np.isinf(selections[i].theta[1])]
    by_angle = [i for i in every if selections[i].kind == "all" or not np.isinf(selections[i].theta[1])]
    tilted = bool(np.ptp(compared.reference.conditions.incident_theta) > DEGREE)

    yield distribution(compared, "total_deposit", "Energy")
    yield distribution(compared, "total_deposit", "Energy", log=True)
    yield from (distribution(compared, "total_deposit", "Energy", i) for i in by_energy[1:])
    yield trend(compared, "sampling_fraction", "Energy")
    yield trend(compared, "sampling_fraction", "Energy", relative_spread=True)
    yield from (distribution(compared, "sampling_fraction", "Energy", i) for i in by_energy)

    for axis in axes:
        for index in every:
            yield profile(compared, axis, index)
            yield profile(compared, axis, index, log=True)
    yield from (distribution(compared, f"maximum_{axis}", "Profiles") for axis in axes)

    for axis in axes:
        yield from (distribution(compared, f"moment{n}_{axis}", "Moments") for n in (1, 2, 3))
        yield trend(compared, f"moment2_{axis}", "Moments")
    for name in ("width_x", "width_y", "width_across", "length"):
        yield distribution(compared, name, "Moments")

    for name in ("fraction_front", "fraction_middle", "fraction_back"):
        yield distribution(compared, name, "Depth")
        yield trend(compared, name, "Depth")
    yield distribution(compared, "barycentre_depth", "Depth")
    yield trend(compared, f"moment1_{axes[2]}", "Depth")

    yield from (spectrum(compared, i) for i in by_energy)
    for name in ("hits", "hits_300keV"):
        yield trend(compared, name, "Cells")
        yield from (distribution(compared, name, "Cells", i) for i in by_energy)

    for name in ("measured_angle", "axis_angle"):
        yield from (distribution(compared, name, "Angle", i) for i in by_angle)
        if tilted:
            yield angle_maps(compared, name)
            yield trend(compared, name, "Angle", against="angle")


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
