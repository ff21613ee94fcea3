"""Every number of ``metrics.json`` for one candidate, gathered from the modules that define them.

Besides those of :mod:`caloforge.comparison.differences`, :mod:`~caloforge.comparison.equal_conditions`,
:mod:`~caloforge.comparison.response`, :mod:`~caloforge.comparison.profiles` and
:mod:`~caloforge.comparison.correlations`:

``ks.<observable>``, ``ks.<observable>_p_value``, ``ks.<observable>_p_corrected``
    Kolmogorov and Smirnov's distance of the two distributions, the chance of a larger one without a
    difference, and the same corrected for their number (:mod:`caloforge.comparison.statistics.kolmogorov`);
    ``ks.min_p_corrected`` is the smallest. They see the incident spectra too.
``auc.high``, ``auc.low``
    Classifiers on observables and on cells (:mod:`caloforge.comparison.statistics.classifier`);
    ``auc.*_by_energy`` in the ``auc.energy_quartiles`` of the reference.
``auc_curve``
    Both over the number of showers of each sample (:mod:`caloforge.comparison.auc_curve`): ``low`` and ``high``
    each with ``sizes``, ``auc``, ``auc_err``, and of the reference's halves ``floor_sizes``, ``floor``, ``floor_err``.
``fpd``, ``kpd``
    Distances on the observables of one value (:mod:`caloforge.comparison.statistics.distances`).
``nearest_neighbour.p_value``
    Is the candidate copying (:mod:`caloforge.comparison.statistics.copies`)? The smallest of the p-values for copies of
    the reference (``nearest_neighbour.reference_p_value``), of its own showers (``self_``) and, if they
    are given, of the training showers (``training_``), times their number.

The ``_floor`` of the first two, with an error too, compares two halves of the reference. All look at the
showers that :mod:`caloforge.comparison.samples` keeps whole, and are null for samples of less than 50.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.auc_curve import Auc, Curve, auc_curve, with_floors
from caloforge.comparison.correlations import correlation_metrics
from caloforge.comparison.differences import Comparison, Metrics, finite
from caloforge.comparison.equal_conditions import Pair, equal_condition_metrics
from caloforge.comparison.features import (
    KNOWS_THE_PARTICLE,
    conditions_table,
    feature_names,
    feature_table,
)
from caloforge.comparison.profiles import profile_metrics
from caloforge.comparison.response import response_metrics
from caloforge.comparison.samples import Sample
from caloforge.comparison.statistics.classifier import Classified, classify_cells, classify_features
from caloforge.comparison.statistics.copies import excess_p_value, nearest_ratio, orbits, self_ratio
from caloforge.comparison.statistics.distances import fpd, kpd
from caloforge.comparison.statistics.kolmogorov import compare_distributions
from caloforge.comparison.statistics.reconstruction import reconstruct_energy
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Part, Progress, silent
from caloforge.foundations.units import GEV
from caloforge.observables.definitions import OBSERVABLES
from caloforge.observables.sparse_showers import SparseShowers

__all__ = ["MIN_JUDGED", "Measured", "measure", "measure_auc", "metrics_by_energy", "reference_floors"]

NORMAL_RAD = 1e-3
MIN_JUDGED = 50
"""A classifier or a distance needs so many showers of each sample."""

STAGES = ("means", "classifier on observables", "classifier on cells", "distances", "copies")
"""What :func:`measure` is doing, for whoever waits for it."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Numbers of a candidate, and what was learned of the kept showers, by observable."""

    metrics: Metrics
    learned_reference: Mapping[str, Array] = field(default_factory=dict)
    learned_candidate: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The kept showers of a sample, or some of them, as the judges of whole showers want them.

    Features: all; those of one value; those that do not know the incident particle.
    """

    features_KF: Array
    by_value_KF: Array
    blind_KF: Array
    conditions_KC: Array
    energy_K: Array
    deposit_K: Array
    group_K: NDArray[np.int64]
    hits: SparseShowers

    def __len__(self) -> int:
        return len(self.energy_K)

    def take(self, rows: NDArray[np.intp]) -> _Kept:
        tables: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        hits = tables.pop("hits").take(rows)
        return _Kept(**{name: table[rows] for name, table in tables.items()}, hits=hits)


def measure(
    compared: Comparison,
    *,
    training: Sequence[SparseShowers] = (),
    floors: Metrics | None = None,
    classifiers: bool = True,
    progress: Progress = silent,
) -> Measured:
    """Compute all numbers of a candidate but ``n_plots``; ``floors`` are those of :func:`reference_floors`.

    ``training`` are showers that the candidate may have copied, with the comparison's threshold applied.
    Without ``classifiers`` distances and the search for copies are left out as well: seconds instead of minutes.
    """
    reference, candidate = compared.reference, compared.candidate
    first, high, low, rest, last = Part(progress).shares((2, 2, 5, 1, 2), STAGES)
    first(0, 1)
    metrics = compared.metrics()
    metrics |= metrics_by_energy(compared)
    metrics |= correlation_metrics(reference, candidate)
    metrics |= _distribution_metrics(reference, candidate)
    if not classifiers:
        first(1, 1)
        return Measured(metrics)
    names = feature_names((reference, candidate))
    pair = (_keep(reference, names), _keep(candidate, names))
    classified, curves = {}, {}
    for kind, part in (("high", high), ("low", low)):
        part(0, 1)
        found = classified[kind] = _classify(kind, reference.grid.shape, *pair)
        metrics |= _auc_metrics(f"auc.{kind}", found)
        curves[kind] = _curve(kind, reference.grid.shape, pair, found, part)
    metrics |= (
        {**floors, "auc_curve": with_floors(curves, floors["auc_curve"])}
        if floors
        else {"auc_curve": curves}
    )
    rest(0, 1)
    metrics["auc.energy_quartiles"] = _quartile_titles(pair[0].energy_K)
    metrics |= _distance_metrics("", *pair)
    last(0, 1)
    metrics |= _copy_metrics(compared, training)
    last(1, 1)
    return Measured(metrics, *_learned(classified, *pair))


def metrics_by_energy(compared: Comparison) -> Metrics:
    """Compute what is measured at points and in ranges of energy alone, without a pass over the files."""
    pair = Pair(compared)
    return equal_condition_metrics(pair) | response_metrics(pair) | profile_metrics(pair)


def measure_auc(compared: Comparison, kind: Literal["high", "low"]) -> Metrics:
    """Compute one of the two AUCs alone, with its errors."""
    samples = (compared.reference, compared.candidate)
    names = feature_names(samples)
    ours, theirs = (_keep(sample, names) for sample in samples)
    return _auc_metrics(f"auc.{kind}", _classify(kind, samples[0].grid.shape, ours, theirs))


def reference_floors(reference: Sample, *, progress: Progress = silent) -> Metrics:
    """Compare one half of the reference with the other: what no candidate can be asked to go below."""
    kept = _keep(reference, feature_names((reference,)))
    first = kept.group_K < reference.n_groups // 2
    halves = (kept.take(np.flatnonzero(first)), kept.take(np.flatnonzero(~first)))
    metrics: Metrics = {"auc_curve": {}}
    for done, kind in enumerate(("high", "low")):
        progress(done, 3)
        found = _classify(kind, reference.grid.shape, *halves)
        metrics["auc_curve"][kind] = _curve(kind, reference.grid.shape, halves, found)
        for name, value in _auc_metrics(f"auc.{kind}_floor", found).items():
            if "_by_energy" not in name:
                metrics[name] = value
    progress(2, 3)
    metrics |= _distance_metrics("_floor", *halves)
    progress(3, 3)
    return metrics


def _distribution_metrics(reference: Sample, candidate: Sample) -> Metrics:
    metrics: Metrics = {}
    found = compare_distributions(reference.values, candidate.values)
    for name, test in found.items():
        metrics[f"ks.{name}"] = test.distance
        metrics[f"ks.{name}_p_value"] = test.p_value
        metrics[f"ks.{name}_p_corrected"] = test.p_corrected
    metrics["ks.min_p_corrected"] = min((test.p_corrected for test in found.values()), default=None)
    return metrics


def _keep(sample: Sample, names: Sequence[str]) -> _Kept:
    scalar = [name for name in names if not OBSERVABLES[name].along]
    blind = [name for name in names if name not in KNOWS_THE_PARTICLE]
    return _Kept(
        features_KF=feature_table(sample, names),
        by_value_KF=feature_table(sample, scalar),
        blind_KF=feature_table(sample, blind),
        conditions_KC=conditions_table(sample),
        energy_K=sample.conditions.incident_energy[sample.kept].astype(np.float64),
        deposit_K=sample.values["total_deposit"][sample.kept].astype(np.float64),
        group_K=sample.group_N[sample.kept],
        hits=sample.hits,
    )


def _enough(*pair: _Kept) -> bool:
    return min(map(len, pair)) >= MIN_JUDGED


def _classify(kind: str, shape: tuple[int, int, int], ours: _Kept, theirs: _Kept) -> Classified | None:
    if not _enough(ours, theirs):
        return None
    both = (ours, theirs)
    groups, energies = (ours.group_K, theirs.group_K), (ours.energy_K, theirs.energy_K)
    if kind == "low":
        conditions = (ours.conditions_KC, theirs.conditions_KC)
        return classify_cells((ours.hits, theirs.hits), shape, conditions, groups, energies)
    first, second = (np.concatenate([k.features_KF, k.conditions_KC], axis=1) for k in both)
    return classify_features((first, second), groups, energies)


def _auc_metrics(name: str, found: Classified | None) -> Metrics:
    if found is None:
        return {name: None, f"{name}_err": None, f"{name}_by_energy": [], f"{name}_by_energy_err": []}
    return {
        name: found.auc,
        f"{name}_err": found.error,
        f"{name}_by_energy": [None if q is None else q[0] for q in found.quartiles],
        f"{name}_by_energy_err": [None if q is None else q[1] for q in found.quartiles],
    }


def _curve(
    kind: str,
    shape: tuple[int, int, int],
    pair: tuple[_Kept, _Kept],
    whole: Classified | None,
    progress: Progress = silent,
) -> Curve:
    def found(classified: Classified | None) -> Auc:
        return (classified.auc, classified.error) if classified else (None, None)

    return auc_curve(
        lambda ours, theirs, _: found(_classify(kind, shape, ours, theirs)),
        pair,
        found(whole),
        progress=progress,
    )


def _quartile_titles(energy_K: Array) -> list[str]:
    edges = np.quantile(energy_K, (0, 0.25, 0.5, 0.75, 1)) / GEV
    return [f"{low:.4g} to {high:.4g} GeV" for low, high in pairwise(edges)]


def _distance_metrics(suffix: str, ours: _Kept, theirs: _Kept) -> Metrics:
    metrics: Metrics = {}
    for name, distance in (("fpd", fpd), ("kpd", kpd)):
        value, error = math.nan, math.nan
        if _enough(ours, theirs):
            with suppress(CaloforgeError):  # no observable varies
                value, error = distance(ours.by_value_KF, theirs.by_value_KF)
        metrics[f"{name}{suffix}"], metrics[f"{name}{suffix}_err"] = finite(value), finite(error)
    return metrics


def _copy_metrics(compared: Comparison, training: Sequence[SparseShowers]) -> Metrics:
    ours, theirs = compared.reference, compared.candidate
    if min(len(ours.kept), len(theirs.kept)) < MIN_JUDGED:
        return {"nearest_neighbour.p_value": None}
    tilted = any(
        float(np.abs(sample.conditions.incident_theta - np.pi / 2).max()) > NORMAL_RAD
        for sample in (ours, theirs)
    )
    orbit_C = orbits(ours.grid, tilted=tilted)
    of_itself = self_ratio(ours.hits, orbit_C)
    found = {
        "reference": excess_p_value(nearest_ratio(theirs.hits, ours.hits, orbit_C), of_itself),
        "self": excess_p_value(self_ratio(theirs.hits, orbit_C), of_itself),
    }
    if training:
        library = SparseShowers.join(training)
        ratios = [nearest_ratio(sample.hits, library, orbit_C) for sample in (theirs, ours)]
        found["training"] = excess_p_value(*ratios)
    named = {f"nearest_neighbour.{kind}_p_value": value for kind, value in found.items()}
    return {"nearest_neighbour.p_value": min(1.0, len(found) * min(found.values())), **named}


def _learned(
    classified: Mapping[str, Classified | None], ours: _Kept, theirs: _Kept
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Score the showers of both samples, and reconstruct their energies."""
    learned: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
    if not _enough(ours, theirs):
        return learned
    for kind, found in classified.items():
        if found is not None:
            for values, scores in zip(
                learned, (found.scores_reference, found.scores_candidate), strict=True
            ):
                values[f"score_{kind}"] = 1 / (1 + np.exp(-np.clip(scores, -50, 50)))
    energies = reconstruct_energy(
        (ours.blind_KF, theirs.blind_KF),
        (ours.deposit_K, theirs.deposit_K),
        (ours.group_K, theirs.group_K),
        ours.energy_K,
    )
    for values, kept, energy_K in zip(learned, (ours, theirs), energies, strict=True):
        values["reconstructed_energy"] = energy_K
        values["energy_error"] = energy_K / kept.energy_K - 1
    return learned
