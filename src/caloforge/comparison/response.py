"""The response to single energies: linearity, resolution and tails of the visible energy, as calorimeters are judged.

At each point of energy (:mod:`caloforge.comparison.energy_points`) the visible energy of a shower is compared with
its sample's curve f(E, theta), so that a bin's width does not add to the resolution.

``response``
    Mean of visible over incident energy, and ``linearity``, what it is over the response averaged over
    the points, minus one.
``resolution``
    sigma/E: half the width of the central 68.3 % over the median, and of a normal distribution fitted to
    the core, within two of its sigma. ``fit`` and ``fit_core``: a, b and c of sigma/E = a / sqrt(E) (+) b (+)
    c / E (E in GeV, sums in quadrature; PDG, Review of Particle Physics, chapter 35.10) through each, with chi2.
``tails``
    Fractions of showers with less than 0.85 and 0.7 of the median, and with more than 1.15.
``tail_ratio.below_0.85``, ``.below_0.7``, ``.above_1.15``
    1 + (candidate's fraction - reference's) / (reference's, or half a per cent of the showers where that is more).

The first three are lists with an entry a point, of ``reference`` and ``candidate`` with ``_err``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import Metrics, finite
from caloforge.comparison.equal_conditions import Pair, reference_curve, width
from caloforge.comparison.samples import Sample
from caloforge.comparison.selections import MIN_SHOWERS, Selection
from caloforge.foundations.units import GEV

__all__ = ["TAILS", "Response", "core_fit", "fit_resolution", "measure_response", "response_metrics"]

Array = NDArray[np.float64]
Number = tuple[float, float]
"""A value and its error."""

TAILS = {"below_0.85": (0.0, 0.85), "below_0.7": (0.0, 0.7), "above_1.15": (1.15, math.inf)}
"""Bounds of the tails, in medians."""

SEEN_TAIL = 0.005
"""A tail of fewer showers than this fraction is compared as if it had so many."""

CORE_SIGMAS = 2.0
MAX_STEPS = 100


@dataclass(frozen=True)
class Response:
    """The response of one sample at points of energy: each number with its error, a point after the other."""

    energy_GeV: list[float]
    mean: list[Number]
    linearity: list[Number]
    central: list[Number]
    core: list[Number]
    tails: dict[str, list[Number]]

    @property
    def fits(self) -> tuple[Metrics, Metrics]:
        """The curves through the central widths, and through those of the core."""
        return fit_resolution(self.energy_GeV, self.central), fit_resolution(self.energy_GeV, self.core)


def measure_response(sample: Sample, points: Sequence[Selection]) -> Response:
    """Measure a sample's response at points of energy."""
    y_N = sample.values["sampling_fraction"].astype(np.float64)
    (f_N,) = reference_curve([sample], "sampling_fraction")
    energy_N = sample.conditions.incident_energy / GEV
    masks = [point.mask(sample.conditions) & np.isfinite(y_N) for point in points]
    means = [_mean(y_N[mask]) for mask in masks]
    relative = [y_N[mask] / f_N[mask] for mask in masks]
    return Response(
        energy_GeV=[float(np.exp(np.log(energy_N[mask]).mean())) for mask in masks],
        mean=means,
        linearity=_linearity(means),
        central=[_resolution(values) for values in relative],
        core=[core_fit(values)[1:] for values in relative],
        tails={tail: [_tail(v, bounds) for v in relative] for tail, bounds in TAILS.items()},
    )


def response_metrics(pair: Pair) -> Metrics:
    """Compute the numbers of this module."""
    curves: dict[str, dict[str, Any]] = {
        "response": {},
        "resolution": {"fit": {}, "fit_core": {}},
        "tails": {},
    }
    for name, sample in zip(("reference", "candidate"), pair.samples, strict=True):
        found = measure_response(sample, pair.places.points)
        for curve in curves.values():
            curve.setdefault("energy_GeV", found.energy_GeV)
        _add(curves["response"], name, found.mean)
        _add(curves["response"], f"linearity_{name}", found.linearity)
        _add(curves["resolution"], name, found.central)
        _add(curves["resolution"], f"core_{name}", found.core)
        for kind, fit in zip(("fit", "fit_core"), found.fits, strict=True):
            curves["resolution"][kind][name] = fit
        for tail, fractions in found.tails.items():
            _add(curves["tails"].setdefault(tail, {}), name, fractions)
    metrics: Metrics = dict(curves)
    y = pair.values("sampling_fraction")
    f = pair.own_curves(y)
    for tail, bounds in TAILS.items():
        metrics |= pair.metrics(f"tail_ratio.{tail}", _tail_ratio(bounds), y, f)
    return metrics


def _add(curve: dict[str, Any], name: str, found: list[Number]) -> None:
    curve[name] = [finite(value) for value, _ in found]
    curve[f"{name}_err"] = [finite(error) for _, error in found]


def _mean(values_N: Array) -> Number:
    return float(values_N.mean()), float(values_N.std(ddof=1)) / math.sqrt(len(values_N))


def _linearity(means: list[Number]) -> list[Number]:
    """Return how far each mean is from their average (weighted with 1 / error^2), relative."""
    if not means or min(error for _, error in means) == 0:
        return [(math.nan, math.nan) for _ in means]
    average = np.average([m for m, _ in means], weights=[error**-2 for _, error in means])
    return [(mean / average - 1, error / abs(average)) for mean, error in means]


def _resolution(relative_N: Array) -> Number:
    """Return half the central width over the median, and its error."""
    if len(relative_N) < MIN_SHOWERS:
        return math.nan, math.nan
    found, error = width(relative_N)
    middle = 2 * float(np.median(relative_N))
    return (found / middle, error / middle) if middle > 0 else (math.nan, math.nan)


def core_fit(values_N: Array) -> tuple[float, float, float]:
    """Fit a normal distribution to the core of values; return mean, sigma over mean, and its error.

    The core lies within two sigma of the mean. Mean and sigma are those that a normal distribution cut
    there must have to show the mean and the variance seen (the likelihood's maximum), found by iteration
    from the median and the central width. NaN where there are few values, or no solution.
    """
    if len(values_N) < MIN_SHOWERS:
        return math.nan, math.nan, math.nan
    cut = CORE_SIGMAS
    within = math.erf(cut / math.sqrt(2))
    density = math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
    second = 1 - 2 * cut * density / within  # moments of a normal distribution cut there
    fourth = 3 * second - 2 * cut**3 * density / within
    mean, sigma = float(np.median(values_N)), width(values_N)[0] / 2
    for _ in range(MAX_STEPS):
        core = values_N[np.abs(values_N - mean) <= cut * sigma]
        if len(core) < MIN_SHOWERS // 2 or sigma <= 0:
            return math.nan, math.nan, math.nan
        before, mean, sigma = (mean, sigma), float(core.mean()), float(core.std()) / math.sqrt(second)
        if before == (mean, sigma):
            break
    # Fisher information of sigma in the values within the cut: (fourth - second^2) / sigma^2 each.
    error = 1 / math.sqrt(len(core) * (fourth - second**2))
    return mean, sigma / abs(mean), sigma / abs(mean) * error


def fit_resolution(energy_GeV: list[float], widths: list[Number]) -> Metrics:
    """Fit sigma/E = a / sqrt(E) (+) b (+) c / E; return a, b, c with errors, chi2 and the number of points.

    The squares of a, b and c are fitted, by least squares that keep them from being negative; a
    term at zero has as its error what its square could be, and then does not count for the others'.
    Null with fewer than three points.
    """
    names = ("a", "b", "c")
    good = [
        (energy, value, error)
        for energy, (value, error) in zip(energy_GeV, widths, strict=True)
        if math.isfinite(value) and error > 0
    ]
    if len(good) < len(names):
        return {name: None for term in names for name in (term, f"{term}_err")}
    energy_P, value_P, error_P = np.array(good).T
    terms_PT = np.stack([1 / energy_P, np.ones_like(energy_P), energy_P**-2.0], axis=1)
    weight_P = 1 / (2 * value_P * error_P)  # the error of a square
    table_PT, wanted_P = terms_PT * weight_P[:, None], value_P**2 * weight_P
    scale_T = np.sqrt((table_PT**2).sum(axis=0))
    square_T = _not_negative(table_PT / scale_T, wanted_P) / scale_T
    used_T = square_T > 0
    error_T = 1 / scale_T  # alone, of a term at zero
    covariance = np.linalg.pinv(table_PT[:, used_T].T @ table_PT[:, used_T])
    error_T[used_T] = np.sqrt(np.diag(covariance))
    result: Metrics = {"points": len(good), "chi2": float(((table_PT @ square_T - wanted_P) ** 2).sum())}
    for name, square, error in zip(names, square_T.tolist(), error_T.tolist(), strict=True):
        value = math.sqrt(square)
        result[name] = value
        result[f"{name}_err"] = min(error / (2 * value), math.sqrt(error)) if value else math.sqrt(error)
    return result


def _not_negative(table_PT: Array, wanted_P: Array) -> Array:
    """Return the least-squares coefficients none of which is negative: the best of those of each set of terms."""
    best_T = np.zeros(table_PT.shape[1])
    for chosen in product((False, True), repeat=len(best_T)):
        used_T, found_T = np.array(chosen), np.zeros(len(best_T))
        found_T[used_T] = np.linalg.lstsq(table_PT[:, used_T], wanted_P, rcond=None)[0]
        rest, least = (np.sum((table_PT @ some_T - wanted_P) ** 2) for some_T in (found_T, best_T))
        if (found_T >= 0).all() and rest < least:
            best_T = found_T
    return best_T


def _tail(relative_N: Array, bounds: tuple[float, float]) -> Number:
    """Return the fraction of values between bounds, in medians, and its error; that of none is not zero."""
    n = len(relative_N)
    if n < MIN_SHOWERS:
        return math.nan, math.nan
    in_medians = relative_N / np.median(relative_N)
    count = int(((in_medians >= bounds[0]) & (in_medians < bounds[1])).sum())
    return count / n, math.sqrt((count + 1) * (n - count + 1) / (n + 2) ** 3)


def _tail_ratio(bounds: tuple[float, float]) -> Callable[[Array, Array], Number]:
    def compute(reference: Array, candidate: Array) -> Number:
        (ours, error), (theirs, other) = (
            _tail(y / f, bounds) if len(f) and f.min() > 0 else (math.nan, math.nan)
            for y, f in (reference, candidate)
        )
        base = max(ours, SEEN_TAIL)
        return 1 + (theirs - ours) / base, math.hypot(error, other) / base

    return compute
