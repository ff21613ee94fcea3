"""Which plots a report has, by topic: one place to read and to extend the list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from caloforge.io.shower_file import ShowerFile
from caloforge.physics.accumulate import Sample
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

TOPICS = {
    "Energy": "How much is deposited, and how that goes with the incident energy.",
    "Profiles": "Mean deposits along each axis and around the shower's axis, and where the maximum lies.",
    "Moments and widths": "Where a shower's middle is, and how wide, long and lopsided it is.",
    "Layers": "Each layer by itself: its deposit, barycentre, width and sparsity.",
    "Cells and hits": "Energies of single cells, and numbers of cells above thresholds.",
    "Angle": "The angle measured from the deposits, and how well it follows the incident one.",
    "Correlations": "How quantities of a shower vary together, in each sample and in their difference.",
    "Classifiers": "How well networks trained to tell the samples apart do so, shower by shower.",
    "Event displays": "Single showers of equal energy and angle, seen from the side and along the beam.",
}
"""Sections of a report, in order, and what each shows."""

DISPLAY_QUANTILES = (0.1, 0.5, 0.9)


def catalogue(samples: Sequence[Sample]) -> list[Plot]:
    """Make every plot that the samples (the reference first) can fill, topic by topic."""
    order = list(TOPICS)
    made = [plot for plot in _all(samples) if plot is not None]
    return sorted(made, key=lambda plot: order.index(plot.topic))


def _all(samples: Sequence[Sample]) -> Iterator[Plot | None]:
    selections, axes = samples[0].selections, samples[0].grid.axes
    every = range(len(selections))
    by_energy = [i for i in every if np.isinf(selections[i].theta[1])]
    by_angle = [i for i in every if selections[i].kind == "all" or not np.isinf(selections[i].theta[1])]
    tilted = bool(np.ptp(samples[0].conditions.incident_theta) > DEGREE)

    yield distribution(samples, "total_deposit", "Energy")
    yield distribution(samples, "total_deposit", "Energy", log=True)
    yield from (distribution(samples, "total_deposit", "Energy", i) for i in by_energy[1:])
    yield trend(samples, "sampling_fraction", "Energy")
    yield trend(samples, "sampling_fraction", "Energy", relative_spread=True)
    yield from (distribution(samples, "sampling_fraction", "Energy", i) for i in by_energy)

    for axis in axes:
        for index in every:
            yield profile(samples, axis, index)
            yield profile(samples, axis, index, log=True)
    yield from (distribution(samples, f"maximum_{axis}", "Profiles") for axis in axes)

    for axis in axes:
        yield from (distribution(samples, f"moment{n}_{axis}", "Moments and widths") for n in (1, 2, 3))
        yield trend(samples, f"moment2_{axis}", "Moments and widths")
    for name in ("width_x", "width_y", "width_across", "length"):
        yield distribution(samples, name, "Moments and widths")

    for name in ("fraction_front", "fraction_middle", "fraction_back"):
        yield distribution(samples, name, "Moments and widths")
        yield trend(samples, name, "Moments and widths")
    yield distribution(samples, "barycentre_depth", "Moments and widths")
    yield trend(samples, f"moment1_{axes[2]}", "Moments and widths")

    yield from (spectrum(samples, i) for i in by_energy)
    for name in ("hits", "hits_300keV"):
        yield trend(samples, name, "Cells and hits")
        yield from (distribution(samples, name, "Cells and hits", i) for i in by_energy)

    for name in ("measured_angle", "axis_angle"):
        yield from (distribution(samples, name, "Angle", i) for i in by_angle)
        if tilted:
            yield angle_maps(samples, name)
            yield trend(samples, name, "Angle", against="angle")


def displays(files: Sequence[ShowerFile], threshold_MeV: float) -> Iterator[Plot]:
    """Draw showers of a low, a middle and a high energy, one of each file, as alike as can be."""
    ours = files[0].conditions
    energies = [file.conditions.incident_energy for file in files]
    low, high = max(e.min() for e in energies), min(e.max() for e in energies)
    shared = (ours.incident_energy >= low) & (ours.incident_energy <= high)
    chosen = ours.incident_energy[shared] if shared.any() else ours.incident_energy
    for number, energy in enumerate(np.quantile(chosen, DISPLAY_QUANTILES), 1):
        first = int(np.argmin(np.abs(ours.incident_energy - energy)))
        wanted = ours[first : first + 1]
        nearest = [first, *(_nearest(file.conditions, wanted) for file in files[1:])]
        yield display(
            f"display_{number}",
            [f.read(i, i + 1).above(threshold_MeV) for f, i in zip(files, nearest, strict=True)],
        )


def _nearest(conditions: Conditions, wanted: Conditions) -> int:
    """Find the shower whose incident energy (relative) and angle (rad) are nearest to one shower's."""
    energy = np.log(conditions.incident_energy / wanted.incident_energy)
    return int(np.argmin(np.abs(energy) + np.abs(conditions.incident_theta - wanted.incident_theta)))
