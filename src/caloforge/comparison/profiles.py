"""Mean profiles cell by cell, the gain of each layer, and how neighbouring layers go together.

``profile_ratio.<axis>.<index>``
    Mean share of the visible energy in the cells with an index along an axis, candidate over reference at
    equal energy and angle. Null where a cell is not among those with the central 95 % of the energy.
``layer_gain.<index>``
    Mean deposit in a layer over what the layers beside it let expect, candidate over reference: much sharper than
    the mean deposit, since showers fluctuate in depth and neighbours share that. The expectation is fitted to the
    reference: the curve of energy and angle, and the deviations of up to two layers on either side. So a layer
    whose gain is off moves the numbers of those as well, the other way.
``neighbour_correlation_difference``
    Candidate minus reference of Pearson's correlation of the deposits of a layer and the next at equal
    energy and angle, averaged over the layers with the central 95 % of the energy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import Metrics, central
from caloforge.comparison.equal_conditions import Pair, fit_curve, ratio_of_means
from caloforge.comparison.selections import MIN_SHOWERS
from caloforge.observables.image import divide

__all__ = ["profile_metrics"]

Array = NDArray[np.float64]

BESIDE = 2
"""Layers on either side that tell what a layer's deposit should be."""

MIN_GAIN = 10 * MIN_SHOWERS
"""A layer's expectation has some tens of coefficients: fewer showers do not fix them."""


def profile_metrics(pair: Pair) -> Metrics:
    """Compute the numbers of this module, at all points and in all ranges of energy."""
    metrics: Metrics = {}
    for axis in pair.samples[0].grid.axes:
        metrics |= _profile(pair, axis)
    depth = pair.samples[0].grid.axes[2]
    deposits = [
        sample.profiles[f"profile_{depth}"]
        / sample.conditions.incident_energy[:, None].astype(np.float64)
        for sample in pair.samples
    ]
    return metrics | _gains(pair, deposits) | _correlations(pair, deposits)


def _profile(pair: Pair, axis: str) -> Metrics:
    profiles = [sample.profiles[f"profile_{axis}"].astype(np.float64) for sample in pair.samples]
    shares = [divide(profile, profile.sum(axis=1, keepdims=True)) for profile in profiles]
    curves_KI = fit_curve(pair.bases[0], shares[0])
    expected = [basis @ curves_KI for basis in pair.bases]
    cores = [
        set(central(profiles[0][mask].sum(axis=0)).tolist()) if mask.any() else set()
        for mask in pair.masks[0]
    ]
    metrics: Metrics = {}
    for index in range(shares[0].shape[1]):
        if not any(index in core for core in cores):
            continue
        found = pair.compute(
            ratio_of_means, [s[:, index] for s in shares], [e[:, index] for e in expected]
        )
        kept = [
            pair_found if index in core else (math.nan, math.nan)
            for pair_found, core in zip(found, cores, strict=True)
        ]
        metrics |= pair.named(f"profile_ratio.{axis}.{index}", kept)
    return metrics


def _gains(pair: Pair, deposits: list[Array]) -> Metrics:
    if min(len(d) for d in deposits) < MIN_GAIN:
        return {}
    curves_KZ = fit_curve(pair.bases[0], deposits[0])
    expected = [basis @ curves_KZ for basis in pair.bases]
    relative = [d / np.where(e > 0, e, np.nan) - 1 for d, e in zip(deposits, expected, strict=True)]
    core = central(deposits[0].sum(axis=0)).tolist()
    metrics: Metrics = {}
    for layer in core:
        beside = [
            other
            for other in range(layer - BESIDE, layer + BESIDE + 1)
            if other != layer and 0 <= other < deposits[0].shape[1]
        ]
        tables = [
            _with_neighbours(e[:, layer], r[:, beside]) for e, r in zip(expected, relative, strict=True)
        ]
        y = [d[:, layer] for d in deposits]
        coefficients = fit_curve(tables[0], y[0])
        f = [table @ coefficients for table in tables]
        metrics |= pair.metrics(f"layer_gain.{layer}", ratio_of_means, y, f)
    return metrics


def _with_neighbours(expected_N: Array, relative_NB: Array) -> Array:
    """Return the terms of a layer's expectation: its curve, times 1, each deviation, and their products."""
    n_beside = relative_NB.shape[1]
    first, second = np.triu_indices(n_beside)
    terms = [np.ones((len(expected_N), 1)), relative_NB, relative_NB[:, first] * relative_NB[:, second]]
    return np.asarray(expected_N[:, None] * np.concatenate(terms, axis=1))


def _correlations(pair: Pair, deposits: list[Array]) -> Metrics:
    core = central(deposits[0].sum(axis=0))
    rests = [d - basis @ fit_curve(basis, d) for d, basis in zip(deposits, pair.bases, strict=True)]
    found = []
    for masks in zip(*pair.masks, strict=True):
        (ours, error), (theirs, other) = (
            _neighbours(rest[mask][:, core]) for rest, mask in zip(rests, masks, strict=True)
        )
        found.append((theirs - ours, math.hypot(error, other)))
    return pair.named("neighbour_correlation_difference", found)


def _neighbours(rest_NZ: Array) -> tuple[float, float]:
    """Return the mean correlation of neighbouring columns, and its error from each shower's influence on it."""
    if len(rest_NZ) < MIN_SHOWERS or rest_NZ.shape[1] < 2:
        return math.nan, math.nan
    centred_NZ = rest_NZ - rest_NZ.mean(axis=0)
    spread_Z = centred_NZ.std(axis=0)
    if not (spread_Z > 0).all():
        return math.nan, math.nan
    z_NZ = centred_NZ / spread_Z
    product_NP = z_NZ[:, 1:] * z_NZ[:, :-1]
    r_P = product_NP.mean(axis=0)
    influence_N = (product_NP - r_P * (z_NZ[:, 1:] ** 2 + z_NZ[:, :-1] ** 2) / 2).mean(axis=1)
    return float(r_P.mean()), float(influence_N.std()) / math.sqrt(len(rest_NZ))
