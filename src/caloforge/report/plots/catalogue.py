"""Which plots a report has, topic by topic: one place to read and to extend the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from caloforge.comparison.samples import Sample
from caloforge.files.held_showers import ShowerSource
from caloforge.foundations.units import DEGREE
from caloforge.report.plots import maps
from caloforge.report.plots.classifiers import roc_curves
from caloforge.report.plots.curves import Curves
from caloforge.report.plots.histograms import Plot
from caloforge.report.plots.response import response_plots
from caloforge.showers import Conditions

__all__ = ["TOPICS", "catalogue", "displays"]

TOPICS = {
    "Response": "How much of the incident energy is seen, how evenly and how sharply, and where, on average.",
    "Energy": "How much is deposited, and how that goes with the incident energy.",
    "Profiles": "Mean deposits along each axis and around the shower's axis, and where the maximum lies.",
    "Moments and widths": "Where a shower's middle is, and how wide, long and lopsided it is.",
    "Layers": "Each layer by itself: its deposit, barycentre, width and sparsity.",
    "Cells and hits": "Energies of single cells, and numbers of cells above thresholds.",
    "Angle": "The angle measured from the deposits, and how well it follows the incident one.",
    "Correlations": "How quantities of a shower vary together: in each sample, and the differences.",
    "Classifiers": "How classifiers and a regression that learned from the samples judge single showers.",
    "Event displays": "Single showers of equal energy and angle, cell by cell and projected onto planes.",
}
"""Sections of a report, in order, and what each shows."""

DISPLAY_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DISPLAY_CHOICE = 20
"""Of so many showers nearest to a wanted energy the one that the other files match best is shown."""

Found = Iterator[Plot | None]


def catalogue(samples: Sequence[Sample], judged: Sequence[tuple[Sample, Sample]] = ()) -> Iterator[Plot]:
    """Make every plot that the samples (the reference first) can fill, topic by topic.

    ``judged`` are the reference and a candidate with the scores of the classifiers that compared the
    two, for each candidate.
    """
    make: dict[str, Callable[[Curves], Found]] = {
        "Response": _response,
        "Energy": _energy,
        "Profiles": _profiles,
        "Moments and widths": _moments,
        "Layers": _layers,
        "Cells and hits": _cells,
        "Angle": _angle,
        "Correlations": _correlations,
        "Classifiers": partial(_classifiers, judged=judged),
    }
    curves = Curves(samples)
    seen: set[str] = set()  # what a report opens with is not shown again in its topic
    for topic in TOPICS:
        if topic in make:
            for plot in make[topic](curves):
                if plot is not None and plot.name not in seen:
                    seen.add(plot.name)
                    yield replace(plot, topic=topic)


def _by_energy(curves: Curves) -> list[int]:
    """List the selections of all angles: everything, bins of energy, the published windows."""
    selections = curves.samples[0].selections
    return [i for i, selection in enumerate(selections) if np.isinf(selection.theta[1])]


def _everywhere(curves: Curves) -> range:
    """List all selections, windows of angle too."""
    return range(len(curves.samples[0].selections))


def _response(curves: Curves) -> Found:
    yield from response_plots(curves.samples)
    yield curves.profile(curves.samples[0].grid.axes[2])
    yield curves.radial_profile()


def _energy(curves: Curves) -> Found:
    # The spectrum of a beam tells of its energies alone.
    yield curves.trend("sampling_fraction")
    yield curves.deposit_trend()
    yield curves.trend("sampling_fraction", of="relative_spread")
    yield curves.deposit_error()
    yield curves.trend("total_deposit")
    yield curves.distribution("total_deposit", log=True)
    for name in ("total_deposit", "sampling_fraction"):
        yield from (curves.distribution(name, i) for i in _by_energy(curves))


def _profiles(curves: Curves) -> Found:
    for axis in curves.samples[0].grid.axes:
        for log in (False, True):
            yield from (curves.profile(axis, i, log=log) for i in _everywhere(curves))
    for log in (False, True):
        yield from (curves.radial_profile(i, log=log) for i in _by_energy(curves))
    for axis in curves.samples[0].grid.axes:
        for log in (False, True):
            yield from (curves.distribution(f"maximum_{axis}", i, log=log) for i in _by_energy(curves))


def _moments(curves: Curves) -> Found:
    names = [f"moment{order}_{axis}" for axis in curves.samples[0].grid.axes for order in (1, 2, 3)]
    names += ["barycentre_depth", "length", "width_across"]
    thirds = ["fraction_front", "fraction_middle", "fraction_back"]
    across = ["width_x", "width_y", "mean_radius", "radius_90", "radius_95"]
    places = [
        "barycentre_X0",
        "first_layer",
        "peak_layer",
        "barycentre_x",
        "barycentre_y",
        "offset_x",
        "offset_y",
    ]
    yield from (curves.trend(name) for name in names + thirds + across + places)
    for name in names:
        yield from (curves.distribution(name, i) for i in _by_energy(curves))
    yield from (curves.distribution(name) for name in thirds + across + places)
    yield from (maps.impact(curves.samples, axis) for axis in ("x", "y"))


def _layers(curves: Curves) -> Found:
    depth = curves.samples[0].grid.axes[2]
    names = ["layer_x", "layer_y", "layer_width_x", "layer_width_y", "layer_sparsity"]
    yield from (curves.layer_means(name) for name in names)
    yield curves.trend("leakage")
    yield curves.distribution("leakage", log=True)
    for layer in curves.layers:
        yield from (curves.layer(name, layer) for name in (f"profile_{depth}", *names))


def _cells(curves: Curves) -> Found:
    hits = [f"hits_{threshold}" for threshold in ("100keV", "300keV", "1MeV", "10MeV", "100MeV")]
    others = ["occupancy", "largest_fraction"]
    yield curves.sparsity()
    yield from (curves.trend(name) for name in ["hits", *hits, *others])
    yield from (curves.spectrum(i) for i in _by_energy(curves))
    for name in ("hits", *hits[:2]):
        yield from (curves.distribution(name, i) for i in _by_energy(curves))
    yield from (curves.distribution(name) for name in hits[2:] + others)


def _angle(curves: Curves) -> Found:
    angles = ("measured_angle", "axis_angle")
    yield curves.trend("angle_error")
    yield curves.trend("angle_error", of="spread")
    if np.ptp(curves.samples[0].conditions.incident_theta) > DEGREE:
        for name in angles:
            yield curves.trend(name, against="angle")
            yield maps.angle_against_incident(curves.samples, name)
            yield from (
                maps.angle_against_reference(curves.samples, name, i) for i in _by_energy(curves)
            )
        yield curves.trend("angle_error", against="angle")
        yield curves.trend("angle_error", against="angle", of="spread")
        yield curves.trend("sampling_fraction", against="angle")
        yield curves.trend("sampling_fraction", against="angle", of="relative_spread")
    for name in (*angles, "angle_error"):
        yield from (curves.distribution(name, i) for i in _everywhere(curves))


def _correlations(curves: Curves) -> Found:
    yield from (maps.correlations(curves.samples, i) for i in _by_energy(curves))
    yield from (maps.layer_correlations(curves.samples, i) for i in _by_energy(curves))


def _classifiers(curves: Curves, judged: Sequence[tuple[Sample, Sample]]) -> Found:
    yield from roc_curves(judged)
    for place, pair in enumerate(judged, 1):
        for plot in _scores(Curves(pair)):
            if plot is not None:
                name = plot.name if len(judged) == 1 else f"{plot.name}_{place}"
                yield replace(plot, name=name, members=(0, place))
    yield curves.trend("energy_error")
    yield curves.trend("energy_error", of="spread")
    yield from (curves.distribution("reconstructed_energy", i) for i in _by_energy(curves))
    yield from (curves.distribution("energy_error", i) for i in _everywhere(curves))


def _scores(curves: Curves) -> Found:
    for name in ("score_low", "score_high"):
        yield curves.trend(name)
        yield from (curves.distribution(name, i) for i in _everywhere(curves))


def displays(files: Sequence[ShowerSource], threshold_MeV: float) -> Iterator[Plot]:
    """Show showers of low to high energy, one of each file (the reference first), as alike as can be."""
    ours = files[0].conditions
    energies = [file.conditions.incident_energy for file in files]
    low, high = max(e.min() for e in energies), min(e.max() for e in energies)
    shared = (ours.incident_energy >= low) & (ours.incident_energy <= high)
    chosen = ours.incident_energy[shared] if shared.any() else ours.incident_energy
    for number, energy in enumerate(np.quantile(chosen, DISPLAY_QUANTILES), 1):
        around = np.argsort(np.abs(ours.incident_energy - energy), kind="stable")[:DISPLAY_CHOICE]
        found = [
            (i, [_nearest(file.conditions, ours[i : i + 1]) for file in files[1:]])
            for i in around.tolist()
        ]
        first, others = min(found, key=lambda pairs: sum(distance for _, distance in pairs[1]))
        alike = (first, *(index for index, _ in others))
        showers = [f.read(i, i + 1).above(threshold_MeV) for f, i in zip(files, alike, strict=True)]
        yield replace(maps.display(f"display_{number}", showers), topic="Event displays")


def _nearest(conditions: Conditions, wanted: Conditions) -> tuple[int, float]:
    """Find the shower nearest to one shower in incident energy (relative) and angle (rad), and how near."""
    energy = np.log(conditions.incident_energy / wanted.incident_energy)
    distance = np.abs(energy) + np.abs(conditions.incident_theta - wanted.incident_theta)
    nearest = int(np.argmin(distance))
    return nearest, float(distance[nearest])
