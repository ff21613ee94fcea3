"""Sentences that a reader of a comparison's numbers must know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from caloforge.comparison.differences import paired
from caloforge.comparison.samples import MAX_KEPT, Sample
from caloforge.comparison.selections import MIN_SHOWERS, Selection
from caloforge.detector import Grid
from caloforge.foundations.texts import shortened

__all__ = ["caveats_on"]


def caveats_on(
    samples: Sequence[Sample],
    labels: Sequence[str],
    grids: Sequence[Grid],
    thin: Sequence[tuple[Selection, tuple[int, ...]]],
) -> Iterator[str]:
    """Write the caveats on a reference and its candidates; ``thin`` selections are left out of all else."""
    for candidate, label in zip(samples[1:], labels[1:], strict=True):
        yield from _conditions(samples[0], candidate, label)
    if thin:
        listed = ", ".join(
            f"{selection.title} ({' and '.join(map(str, counts))})" for selection, counts in thin
        )
        yield f"Too thin to draw or to count, with fewer than {MIN_SHOWERS} showers in a file: {listed}."
    for sample, label in zip(samples, labels, strict=True):
        if sample.n_empty:
            yield (
                f"{sample.n_empty} of {len(sample)} showers of {label} have no deposit above the threshold: "
                "they count in deposits, hits and profiles, and are left out where an observable is undefined."
            )
        if len(sample) > MAX_KEPT:
            yield (
                f"{label}: classifiers, distances, the search for copies, correlations and distributions by "
                f"layer use {MAX_KEPT} of its {len(sample)} showers, drawn at random; all else uses all."
            )
    for what in ("name", "cell_size", "layer_pitch_mm", "layer_centres_mm", "threshold_MeV"):
        found = list(dict.fromkeys(getattr(grid, what) for grid in grids))
        if len(found) > 1:
            yield f"The files' detectors differ in {what}: {shortened(' and '.join(map(str, found)), 200)}."


def _conditions(reference: Sample, candidate: Sample, label: str) -> Iterator[str]:
    if paired(reference, candidate):
        yield (
            f"{label} holds the reference's incident energies and angles in the same order. Errors of the "
            "numbers take that into account; the error bars in the plots and the column “same source” do "
            "not, and are conservative (too large)."
        )
        return
    ours, theirs = (float(s.conditions.incident_energy.mean()) for s in (reference, candidate))
    if abs(theirs / ours - 1) > 0.01:
        yield (
            f"The mean incident energy of {label} is {100 * (theirs / ours - 1):+.1f} % off the reference's. "
            "Raw means, profiles over all energies and classifiers see that; ratios at equal conditions do not. Compare "
            "in bins of energy, or generate with the reference's energies (caloforge generate --like)."
        )
    if np.ptp(theirs_theta := candidate.conditions.incident_theta) == 0 and np.ptp(
        reference.conditions.incident_theta
    ):
        yield f"{label} has one incident angle, {np.degrees(theirs_theta[0]):.4g}°; the reference has many."
