"""The numbers of ``caloforge validate --protocol calochallenge``.

Of the CaloChallenge's protocol (arXiv:2410.21611), which ``caloforge validate --protocol calochallenge`` follows:

``calochallenge.auc.low``, ``calochallenge.auc.high``
    The published classifier on voxels and on observables (:mod:`caloforge.comparison.calochallenge.classifier`): the
    mean over ``calochallenge.runs``, and as error their standard deviation, as published.
``calochallenge.auc_curve``
    Both over the number of showers of each sample, in the form of ``auc_curve``; ``calochallenge.n_showers`` is all.
``calochallenge.fpd``, ``calochallenge.kpd``
    Distances on the same observables (:mod:`caloforge.comparison.calochallenge.distances`).

The ``_floor`` of each compares two halves of the reference, ``calochallenge.n_floor`` showers each, in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from caloforge.comparison.auc_curve import Auc, auc_curve, with_floors
from caloforge.comparison.calochallenge.classifier import PUBLISHED, Kind, Settings, classify
from caloforge.comparison.calochallenge.distances import published_fpd, published_kpd
from caloforge.comparison.calochallenge.inputs import MAX_SHOWERS, Inputs
from caloforge.comparison.differences import Metrics
from caloforge.comparison.metrics import MIN_JUDGED
from caloforge.foundations.progress import Part, Progress, silent
from caloforge.foundations.randomness import stream

__all__ = ["NAME", "judge_as_published", "sentence"]

NAME = "calochallenge"
KINDS: tuple[Kind, ...] = ("low", "high")
RUNS = 10
"""As in the publication."""

Pair = tuple[Inputs, Inputs]


def judge_as_published(
    reference: Inputs,
    candidates: Sequence[Inputs],
    *,
    settings: Settings = PUBLISHED,
    runs: int = RUNS,
    progress: Progress = silent,
) -> list[Metrics]:
    """Compute the numbers of each candidate: see the module's docstring. Null for less than 50 showers."""
    half = len(reference) // 2
    order = stream(0, NAME, "halves").permutation(len(reference))
    ours, theirs = (reference.take(np.sort(rows)) for rows in (order[:half], order[half : 2 * half]))
    pairs: list[Pair] = [(ours, theirs), *((reference, candidate) for candidate in candidates)]
    parts = Part(progress).shares(min(map(len, pair)) for pair in pairs)
    floors, *found = (_compare(pair, settings, runs, p) for pair, p in zip(pairs, parts, strict=True))
    beside: Metrics = {"n_floor": floors["n_showers"]}
    for name in ("auc.low", "auc.high", "fpd", "kpd"):
        beside |= {f"{name}_floor": floors[name], f"{name}_floor_err": floors[f"{name}_err"]}
    for numbers in found:
        curves = with_floors(numbers["auc_curve"], floors["auc_curve"])
        numbers |= {**beside, "auc_curve": curves}
    return [{f"{NAME}.{name}": value for name, value in numbers.items()} for numbers in found]


def sentence(metrics: Metrics) -> str:
    """Say how the numbers came about, and with how many showers."""
    n, n_floor = (metrics[f"{NAME}.{name}"] for name in ("n_showers", "n_floor"))
    return (
        f"Protocol of the CaloChallenge (arXiv:2410.21611): {n} showers a side, of which {int(0.6 * n)} train, and "
        f"{n_floor} a side for the same source; AUC is the mean of {metrics[f'{NAME}.runs']} runs with their standard "
        f"deviation. Published values stand on {MAX_SHOWERS} a side, and those of other sizes cannot be compared."
    )


def _compare(pair: Pair, settings: Settings, runs: int, progress: Progress) -> Metrics:
    n = min(map(len, pair))
    metrics: Metrics = {"n_showers": n, "runs": runs, "auc_curve": {}}
    stages = [
        f"{NAME}: {what}" for what in ("distances", "voxels", "voxels", "observables", "observables")
    ]
    first, *parts = Part(progress).shares((1, 10, 5, 3, 2), stages)
    first(0, 1)
    for name, distance in (("fpd", published_fpd), ("kpd", published_kpd)):
        found = distance(*(each.observables_NF for each in pair)) if n >= MIN_JUDGED else (None, None)
        metrics[name], metrics[f"{name}_err"] = found
    for kind, whole_part, part in zip(KINDS, parts[::2], parts[1::2], strict=True):
        judge = partial(_auc, kind=kind, settings=settings, runs=runs)
        whole = judge(*pair, whole_part)
        metrics[f"auc.{kind}"], metrics[f"auc.{kind}_err"] = whole
        metrics["auc_curve"][kind] = auc_curve(judge, pair, whole, progress=part)
    return metrics


def _auc(
    ours: Inputs, theirs: Inputs, progress: Progress, *, kind: Kind, settings: Settings, runs: int
) -> Auc:
    if min(len(ours), len(theirs)) < MIN_JUDGED:
        return None, None
    areas = classify(ours, theirs, kind, runs, settings=settings, progress=progress)
    return float(areas.mean()), float(areas.std(ddof=1))
