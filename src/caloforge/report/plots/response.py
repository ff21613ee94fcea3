"""The first plots of a report: response, linearity, resolution and tails against the incident energy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import Metrics
from caloforge.comparison.energy_points import choose_places
from caloforge.comparison.response import TAILS, measure_response
from caloforge.comparison.samples import Sample
from caloforge.comparison.selections import Selection
from caloforge.foundations.units import GEV
from caloforge.report.plots.histograms import Plot, histogram

__all__ = ["response_plots"]

Array = NDArray[np.float64]

FIT_POINTS = 200


def response_plots(samples: Sequence[Sample]) -> Iterator[Plot]:
    """Draw how the samples (the reference first) respond to single energies; nothing where they share none."""
    points = _tiles(choose_places(*(sample.conditions for sample in samples)).points)
    if not points:
        return
    edges = np.array([point.energy[0] for point in points] + [points[-1].energy[1]]) / GEV
    found = [measure_response(sample, points) for sample in samples]

    def plot(name: str, title: str, y_label: str, values: list[Any], **options: Any) -> Plot:
        return Plot(
            f"{name}_at_single_energies",
            title,
            "curves",
            tuple(_histogram(edges, numbers) for numbers in values),
            scale=(1.0,) * len(samples),
            showers=tuple(map(len, samples)),
            observable="sampling_fraction",
            y_label=y_label,
            log_x=len(points) > 1,
            **options,
        )

    yield plot("response", "Response", "Visible / incident energy", [r.mean for r in found])
    yield plot(
        "linearity",
        "Linearity of the response",
        "Response / mean response - 1 [%]",
        [[(100 * value, 100 * error) for value, error in r.linearity] for r in found],
        difference=True,
    )
    yield plot(
        "resolution",
        "Resolution: central 68 %, lines a/√E ⊕ b ⊕ c/E",
        "sigma / E",
        [r.central for r in found],
        lines=tuple(_fitted(r.fits[0], edges) for r in found),
    )
    yield plot(
        "resolution_core",
        "Resolution: Gaussian core, lines a/√E ⊕ b ⊕ c/E",
        "sigma / E",
        [r.core for r in found],
        lines=tuple(_fitted(r.fits[1], edges) for r in found),
    )
    for tail, (low, high) in TAILS.items():
        what = f"above {low:g}" if low else f"below {high:g}"
        title = f"Tail of the response: {what} of the median"
        yield plot(
            f"tail_{tail}", title, "Fraction of showers", [r.tails[tail] for r in found], difference=True
        )


def _tiles(points: Sequence[Selection]) -> list[Selection]:
    """Choose points that do not overlap, in increasing order."""
    chosen: list[Selection] = []
    for point in points:
        if not chosen or point.energy[0] >= chosen[-1].energy[1] * (1 - 1e-9):
            chosen.append(point)
    return chosen


def _histogram(edges: Array, numbers: Sequence[tuple[float, float]]) -> Any:
    values, errors = np.array(numbers).T
    return histogram(edges, "Incident energy [GeV]", values, errors**2)


def _fitted(fit: Metrics, edges: Array) -> Array:
    """Return the curve through the widths as points (2, P); none where there are too few."""
    if fit["a"] is None:
        return np.zeros((2, 0))
    energy = np.geomspace(edges[0], edges[-1], FIT_POINTS)
    return np.stack([energy, np.sqrt(fit["a"] ** 2 / energy + fit["b"] ** 2 + (fit["c"] / energy) ** 2)])
