"""How well a classifier tells a candidate's showers from a reference's: the AUC, 0.5 if not at all.

One protocol for two classifiers, as CaloChallenge has them (Krause et al., arXiv:2410.21611): "high"
sees observables (gradient boosting, :mod:`caloforge.comparison.statistics.boosting`), "low" sees the cells (a
network, :mod:`caloforge.comparison.statistics.cell_network`). Both see the incident conditions, both samples weigh
the same whatever their sizes, and five models are cross-fitted with a seed each
(:mod:`caloforge.comparison.statistics.folds`), so every shower is scored once by a model that has not seen it.

The AUC is the mean of the five folds' areas under the ROC curve: the chance that a shower of the
candidate scores above one of the reference, a tie counting half. It is not folded at 0.5: by chance,
or where a file repeats the other's showers, it falls below.

Its error joins two sources. Given the five models, the mean has the variance W: the mean of DeLong's
variances (Biometrics 44 (1988) 837) of the folds, over five. But what one model learns by chance of
fold j and finds in fold k is what another learns of k and finds in j: of the ten pairs of folds five
are used once and five twice, so that without any difference the variance of the mean is that of
5 x 1 + 5 x 4 pairs' worth instead of 15 (exact for a linear classifier). The models themselves differ
too, which the scatter of the folds shows, B = their sample variance over five. The error is
sqrt(max(5/3 W, B)), and at least 1 / (2 N) with N the showers of the smaller sample, which remains
where the two are told apart without a mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.statistics.boosting import boost
from caloforge.comparison.statistics.cell_network import CellInputs, fit_cells
from caloforge.comparison.statistics.folds import N_FOLDS, Fold, check_folds, fold_of, folds
from caloforge.foundations.randomness import stream_seed
from caloforge.observables.sparse_showers import SparseShowers

__all__ = [
    "Classified",
    "Fit",
    "auc",
    "classify",
    "classify_cells",
    "classify_features",
    "roc_area",
    "roc_curve",
]

Array = NDArray[np.float64]
Pair = tuple[NDArray[Any], NDArray[Any]]
"""The same thing of the reference and of the candidate."""

MIN_IN_QUARTILE = 20
SHARED_PAIRS = 5 / 3

Fit = Callable[[Fold, Array, Array, int], Array]
"""``fit(fold, label_N, weight_N, seed)`` scores the fold's test rows; candidates have the label 1."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What a classifier found: see the module's docstring.

    ``quartiles`` are (AUC, error) by quartile of the reference's incident energies, from the same
    scores; None where one has too few showers. Scores are log odds for the candidate.
    """

    auc: float
    error: float
    quartiles: tuple[tuple[float, float] | None, ...]
    scores_reference: Array
    scores_candidate: Array


def roc_area(reference_N: Array, candidate_M: Array) -> tuple[float, float]:
    """Return the area under the ROC curve and its variance by DeLong; at least two scores each."""
    below_M, above_N = _ranks(candidate_M, reference_N), 1 - _ranks(reference_N, candidate_M)
    variance = np.var(below_M, ddof=1) / len(below_M) + np.var(above_N, ddof=1) / len(above_N)
    return float(below_M.mean()), float(variance)


def roc_curve(scores: Pair, fold: Pair, edges: Array) -> tuple[Array, Array]:
    """Return the true positive rate in bins of the false positive rate, the mean over the folds, and its variance.

    Bins hold means, so the area under them is the mean of the folds' AUCs.
    """
    curves = []
    for number in range(N_FOLDS):
        ours, theirs = (np.sort(s[f == number]) for s, f in zip(scores, fold, strict=True))
        steps = np.unique(np.concatenate([ours, theirs]))[::-1]
        # From no shower above a step to all; where scores are equal both rates grow on a straight line.
        false, true = (np.append(0, 1 - np.searchsorted(x, steps) / len(x)) for x in (ours, theirs))
        area = np.append(0, np.cumsum(np.diff(false) * (true[1:] + true[:-1]) / 2))
        curves.append(np.diff(np.interp(edges, false, area)) / np.diff(edges))
    mean = np.mean(curves, axis=0)
    middle = (edges[1:] + edges[:-1]) / 2
    slope, n, m = np.gradient(mean, middle), len(scores[0]), len(scores[1])
    rate = (m * mean + 1) / (m + 2)  # Laplace's: none of few is not never
    return mean, rate * (1 - rate) / m + slope**2 * middle * (1 - middle) / n


def _ranks(scores: Array, others: Array) -> Array:
    """Return the fraction of the others below each score, ties counting half."""
    others = np.sort(others)
    places = [np.searchsorted(others, scores, side) for side in ("left", "right")]
    return np.asarray((places[0] + places[1]) / (2 * len(others)))


def auc(scores: Pair, fold: Pair) -> tuple[float, float] | None:
    """Return the AUC over the folds and its error; None where a fold has less than two showers of a sample."""
    parts = [tuple(s[f == k] for s, f in zip(scores, fold, strict=True)) for k in range(N_FOLDS)]
    if min(len(part) for pair in parts for part in pair) < 2:
        return None
    areas, variances = np.array([roc_area(*pair) for pair in parts]).T
    within, between = variances.mean() / N_FOLDS, np.var(areas, ddof=1) / N_FOLDS
    least = 1 / (2 * min(map(len, scores)))
    return float(areas.mean()), max(math.sqrt(max(SHARED_PAIRS * within, between)), least)


def classify(fit: Fit, groups: Pair, energies: Pair, *, seed: int = 0) -> Classified:
    """Cross-fit a classifier. ``energies`` (MeV) are those of the quartiles.

    Raises CaloforgeError where a sample has too few showers in a fold.
    """
    fold = (fold_of(groups[0]), fold_of(groups[1]))
    for numbers, name in zip(fold, ("reference", "candidate"), strict=True):
        check_folds(numbers, name)
    n, m = map(len, groups)
    label = np.repeat([0.0, 1.0], [n, m])
    weight = np.repeat([(n + m) / (2 * n), (n + m) / (2 * m)], [n, m])
    scores = np.empty(n + m)
    for part in folds(np.concatenate(fold)):
        scores[part.test] = fit(part, label, weight, stream_seed(seed, "classifier", part.number))
    ours, theirs = scores[:n], scores[n:]
    found = auc((ours, theirs), fold)
    assert found is not None
    edges = np.quantile(energies[0], (0.25, 0.5, 0.75))
    quartile = tuple(np.searchsorted(edges, energy, "right") for energy in energies)
    quartiles = []
    for number in range(4):
        where = [numbers == number for numbers in quartile]
        enough = min(int(w.sum()) for w in where) >= MIN_IN_QUARTILE
        chosen = [(values[0][where[0]], values[1][where[1]]) for values in ((ours, theirs), fold)]
        quartiles.append(auc(chosen[0], chosen[1]) if enough else None)
    return Classified(*found, tuple(quartiles), ours, theirs)


def classify_features(features: Pair, groups: Pair, energies: Pair, *, seed: int = 0) -> Classified:
    """Tell the samples apart by observables and conditions (N, F), NaN where undefined: "high".

    ``groups`` (N,) are numbers, equal where showers share conditions; ``energies`` (N,) in MeV.
    Raises MissingExtraError without scikit-learn, CaloforgeError with too few showers.
    """
    x_NF = np.concatenate(features)

    def fit(fold: Fold, label_N: Array, weight_N: Array, seed: int) -> Array:
        train, validation = (
            (x_NF[rows], label_N[rows], weight_N[rows]) for rows in (fold.train, fold.validation)
        )
        return boost("Classifier", train, validation, x_NF[fold.test], seed=seed)

    return classify(fit, groups, energies, seed=seed)


def classify_cells(
    hits: tuple[SparseShowers, SparseShowers],
    shape: tuple[int, int, int],
    conditions: Pair,
    groups: Pair,
    energies: Pair,
    *,
    seed: int = 0,
) -> Classified:
    """Tell the samples apart by the cells of a grid and conditions (N, C): "low".

    ``groups`` and ``energies`` as for :func:`classify_features`. Raises CaloforgeError with too few
    showers.
    """
    inputs = CellInputs(
        SparseShowers.join(hits), shape, np.concatenate(conditions), np.concatenate(energies)
    )

    def fit(fold: Fold, label_N: Array, weight_N: Array, seed: int) -> Array:
        return fit_cells(inputs, fold, label_N, weight_N, seed)

    return classify(fit, groups, energies, seed=seed)
