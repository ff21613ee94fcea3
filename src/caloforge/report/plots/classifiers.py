"""Plots of classifiers themselves: the AUC over the number of showers, and ROC curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from caloforge.comparison.auc_curve import FLOOR, OWN, Curve
from caloforge.comparison.differences import Metrics
from caloforge.comparison.samples import Sample
from caloforge.comparison.statistics.classifier import roc_curve
from caloforge.comparison.statistics.folds import fold_of
from caloforge.report.plots.histograms import Plot, histogram, points

__all__ = ["auc_curves", "roc_curves"]

CLASSIFIERS = {
    "auc_curve": {"low": "classifier on cells", "high": "classifier on observables"},
    "calochallenge.auc_curve": {
        "low": "CaloChallenge's classifier on voxels",
        "high": "CaloChallenge's classifier on observables",
    },
}
N_BINS = 25


def auc_curves(numbers: Sequence[Metrics]) -> Iterator[Plot]:
    """Draw each classifier's AUC over the number of showers, the reference's halves and each candidate's."""
    for name, kinds in CLASSIFIERS.items():
        for kind, title in kinds.items():
            curves: list[Curve] = [metrics[name][kind] for metrics in numbers if name in metrics]
            if any(area is not None for curve in curves for area in curve["auc"]):
                yield _auc_curve(f"{name.replace('.', '_')}_{kind}", title, curves)


def _auc_curve(name: str, title: str, curves: Sequence[Curve]) -> Plot:
    drawn = [_by_size(curves[0], FLOOR), *(_by_size(curve, OWN) for curve in curves)]
    places = sorted({size for values, _ in drawn for size in values})
    return Plot(
        name,
        f"AUC over the number of showers: {title}",
        "points",
        tuple(points(places, "Showers of each sample", *each) for each in drawn),
        scale=(1.0,) * len(drawn),
        showers=(curves[0]["floor_sizes"][-1], *(curve["sizes"][-1] for curve in curves)),
        topic="Classifiers",
        y_label="AUC",
        log_x=True,
    )


def _by_size(curve: Curve, keys: Sequence[str]) -> tuple[dict[int, float], dict[int, float]]:
    """Return the AUCs that are known, and their errors, by the number of showers."""
    known = [each for each in zip(*(curve[key] for key in keys), strict=True) if None not in each]
    return {size: area for size, area, _ in known}, {size: error for size, _, error in known}


def roc_curves(judged: Sequence[tuple[Sample, Sample]]) -> Iterator[Plot]:
    """Draw the ROC curve of each classifier, all candidates in one frame; the reference is a coin toss.

    A bin holds the mean over its false positive rates, so the area under the curve is the AUC.
    """
    edges = np.linspace(0, 1, N_BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    for kind, title in CLASSIFIERS["auc_curve"].items():
        name = f"score_{kind}"
        if not judged or not all(name in sample.values for pair in judged for sample in pair):
            continue
        found = [(middle, np.zeros(N_BINS))]
        for pair in judged:
            seen = [np.isfinite(sample.values[name]) for sample in pair]
            scores = [s.values[name][k].astype(np.float64) for s, k in zip(pair, seen, strict=True)]
            fold = [fold_of(s.group_N[k]) for s, k in zip(pair, seen, strict=True)]
            found.append(roc_curve((scores[0], scores[1]), (fold[0], fold[1]), edges))
        label = "False positive rate: reference showers taken for the candidate's"
        yield Plot(
            f"roc_{kind}",
            f"ROC curve: {title}",
            "curves",
            tuple(histogram(edges, label, *each) for each in found),
            scale=(1.0,) * len(found),
            showers=(len(judged[0][0].kept), *(len(pair[1].kept) for pair in judged)),
            y_label="True positive rate",
            difference=True,
        )
