"""Means and spreads of observables, candidate over reference, at equal conditions.

Deposits, hits and most else grow with the incident energy, whose spread hides what a candidate gets
wrong, and two files seldom hold the same energies. So a curve f(E, theta) is fitted for each observable,
and what counts is how far the showers are from it:

``adjusted_ratio.<observable>``
    (sum y / sum f) of the candidate over the same of the reference, f being the reference's curve: a
    ratio estimator (Cochran, Sampling Techniques, chapter 6). 1 if the means agree. Null where the
    reference's mean is within five of its errors of zero. That of the sampling fraction is the response.
``spread_ratio.<observable>``
    Width of y / f of the candidate over that of the reference, each about its own curve: 1 if the
    candidate fluctuates as it should, whatever its mean. The width is the mean distance from the median, no
    distance counting for more than three central half widths: a fifth sharper than the
    central 68.3 %, while tails, which make a standard deviation a matter of luck, weigh little. Showers of different
    energies are brought to one width first, that of the reference at their energy. Null where the mean's
    ratio is null or f is not positive; left out for whole numbers that take few values. That of the
    sampling fraction is the resolution. Of residuals, such as the distance from the impact point, whose mean is near
    zero, the width of y - f is taken: the resolution of the position and of the direction.

``energy_scale``, ``hit_scale``
    The same ratio for sampling fraction and hits, the curve fitted in leakage and longitudinal
    barycentre too: a late shower leaks and deposits less, and what remains at equal depth is the scale
    of the visible energy, and of the hits, sharper than their means.

Each has ``_err`` beside it, ``_by_energy`` (with ``_by_energy_err``): the same at each of the
``energy_points``, and ``_by_range`` in each of the ``energy_ranges`` (:mod:`caloforge.comparison.energy_points`).
The curve is a polynomial of log E (degree 4) and theta (degree 2), of total degree 4.
Showers of the candidate outside the reference's range of energies and angles do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from caloforge.comparison.differences import SIGNIFICANCE, Comparison, Metrics, finite
from caloforge.comparison.samples import Sample
from caloforge.comparison.selections import MIN_SHOWERS, Selection
from caloforge.foundations.randomness import stream
from caloforge.foundations.units import GEV
from caloforge.observables.definitions import OBSERVABLES
from caloforge.showers import Conditions

__all__ = ["Pair", "equal_condition_metrics", "fit_curve", "ratio_of_means", "reference_curve", "width"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

Compute = Callable[[Array, Array], tuple[float, float]]
"""From y and f (2, N) of the reference and of the candidate to a number and its error."""

RESIDUALS = {"angle_error", "angle_error_x", "offset_x", "offset_y"}
"""Observables that are differences from the truth: their spread counts in their own unit."""

DEGREE_ENERGY, DEGREE_THETA = 4, 2
MIN_WHOLE = 8
NARROWEST = 0.2
"""A curve of widths that falls below this fraction of their mean is taken to be at it."""

TAIL = 0.1587
"""What a normal distribution has beyond one standard deviation, on one side."""

STEP = 0.04
"""Densities are read from quantiles that are at least so far apart, which smooths them."""

FARTHEST = 3.0
"""Central half widths; a distance beyond counts as so many."""

NORMAL_WIDTH_ERROR = 0.96
"""Error of half the central width of n normal numbers, in standard deviations, times sqrt(n)."""

NORMAL_DISTANCE_ERROR = math.sqrt(math.pi / 2 - 1)
"""Relative error of the mean distance of n normal numbers from their middle, times sqrt(n)."""


class _Range:
    """The range of the reference's conditions, and the curve's basis on it."""

    def __init__(self, conditions: Conditions) -> None:
        self.bounds = [(c_N.min(), c_N.max()) for c_N in _coordinates(conditions)]

    def holds(self, conditions: Conditions) -> NDArray[np.bool_]:
        pairs = zip(_coordinates(conditions), self.bounds, strict=True)
        within = [(values >= low - 1e-6) & (values <= high + 1e-6) for values, (low, high) in pairs]
        return np.asarray(within[0] & within[1])

    def basis(self, conditions: Conditions) -> Array:
        """Return the products of Chebyshev polynomials of log E and theta, (N, K)."""
        t, u = (
            2 * (values - low) / (high - low) - 1 if high > low else np.zeros(len(values))
            for values, (low, high) in zip(_coordinates(conditions), self.bounds, strict=True)
        )
        by_energy = chebyshev.chebvander(t, DEGREE_ENERGY)
        by_theta = chebyshev.chebvander(u, DEGREE_THETA)
        columns = [
            by_energy[:, i] * by_theta[:, j]
            for i in range(DEGREE_ENERGY + 1)
            for j in range(DEGREE_THETA + 1)
            if i + j <= DEGREE_ENERGY
        ]
        return np.stack(columns, axis=1)


def _coordinates(conditions: Conditions) -> tuple[Array, Array]:
    """Return log E (E in MeV) and theta, which the curves are functions of, twice (N,)."""
    energy, theta = conditions.incident_energy, conditions.incident_theta
    return np.log(energy.astype(np.float64)), theta.astype(np.float64)


def reference_curve(samples: Sequence[Sample], name: str) -> list[Array]:
    """Fit an observable's curve to the first sample and return its values for the showers of each, (N,)."""
    spanned = _Range(samples[0].conditions)
    bases = [spanned.basis(sample.conditions) for sample in samples]
    curve = fit_curve(bases[0], samples[0].values[name].astype(np.float64))
    return [basis @ curve for basis in bases]


class Pair:
    """Reference and candidate, where both have showers of the same conditions.

    ``bases`` (N, K) of the curves of each; ``inside`` (N,) tells which showers count.
    """

    def __init__(self, compared: Comparison) -> None:
        self.samples = (compared.reference, compared.candidate)
        self.places = compared.places
        spanned = _Range(compared.reference.conditions)
        self.inside = [spanned.holds(sample.conditions) for sample in self.samples]
        self.bases = [spanned.basis(sample.conditions) for sample in self.samples]

    @cached_property
    def masks(self) -> list[list[Mask]]:
        """Which showers count at each place (all, points, ranges), for each sample (N,)."""
        return [
            [inside, *(inside & place.mask(sample.conditions) for place in self.places)]
            for sample, inside in zip(self.samples, self.inside, strict=True)
        ]

    def values(self, name: str) -> list[Array]:
        """Return an observable of one value of both samples, (N,)."""
        return [sample.values[name].astype(np.float64) for sample in self.samples]

    def own_curves(self, y: Sequence[Array]) -> list[Array]:
        """Return each sample's curve through its own values, for its showers, (N,)."""
        return [basis @ fit_curve(basis, values) for basis, values in zip(self.bases, y, strict=True)]

    def compute(
        self, compute: Compute, y: Sequence[Array], f: Sequence[Array]
    ) -> Iterator[tuple[float, float]]:
        """Compute a number over all energies, at each point and in each range; y and f are (N,) of both."""
        good = [np.isfinite(a) & np.isfinite(b) for a, b in zip(y, f, strict=True)]
        for masks in zip(*self.masks, strict=True):
            where = [mask & g for mask, g in zip(masks, good, strict=True)]
            yield compute(*(np.stack([a[w], b[w]]) for a, b, w in zip(y, f, where, strict=True)))

    def metrics(self, name: str, compute: Compute, y: Sequence[Array], f: Sequence[Array]) -> Metrics:
        """Compute a number as above, under its name."""
        found = list(self.compute(compute, y, f))
        if math.isnan(found[0][0]):  # undefined over all energies: no luckier at a point
            found = [(math.nan, math.nan)] * len(found)
        return self.named(name, found)

    def named(self, name: str, found: Sequence[tuple[float, float]]) -> Metrics:
        """Name what was computed over all energies, at the points and in the ranges."""
        values, errors = ([finite(pair[i]) for pair in found] for i in (0, 1))
        n = 1 + len(self.places.points)
        return {
            name: values[0],
            f"{name}_err": errors[0],
            f"{name}_by_energy": values[1:n],
            f"{name}_by_energy_err": errors[1:n],
            f"{name}_by_range": values[n:],
            f"{name}_by_range_err": errors[n:],
        }


def equal_condition_metrics(pair: Pair) -> Metrics:
    """Compute the numbers of this module, for every observable of one value that both samples have."""
    reference, candidate = pair.samples
    n = 1 + len(pair.places.points)
    metrics = _titles("energy_points", pair.places.points, [masks[1:n] for masks in pair.masks])
    metrics |= _titles("energy_ranges", pair.places.ranges, [masks[n:] for masks in pair.masks])
    for name in reference.values:
        if name not in candidate.values or OBSERVABLES[name].learned:
            continue
        y = pair.values(name)
        curve = fit_curve(pair.bases[0], y[0])
        at_reference = [basis @ curve for basis in pair.bases]
        metrics |= pair.metrics(f"adjusted_ratio.{name}", ratio_of_means, y, at_reference)
        if OBSERVABLES[name].discrete and _too_few_values(y[0]):
            continue
        own = pair.own_curves(y)
        if OBSERVABLES[name].discrete:  # quantiles of whole numbers move in steps
            y = [_spread_over_units(values, name, i) for i, values in enumerate(y)]
        if name in RESIDUALS:
            y = [1 + y_N - own_N for y_N, own_N in zip(y, own, strict=True)]
            own = [np.ones(len(y_N)) for y_N in y]
        elif metrics[f"adjusted_ratio.{name}"] is None:
            own = [np.full(len(f), np.nan) for f in own]  # no mean, no relative spread
        metrics |= pair.metrics(f"spread_ratio.{name}", _ratio_of_spreads, _even(pair, y, own), own)
    return metrics | _at_equal_depth(pair)


def _titles(name: str, places: Sequence[Selection], masks: Sequence[Sequence[Mask]]) -> Metrics:
    """Name places, and tell their bounds and the showers of the smaller sample there."""
    bounds = [place.energy for place in places]
    in_GeV: list[Any] = [
        None if high == np.inf else [float(f"{low / GEV:.6g}"), float(f"{high / GEV:.6g}")]
        for low, high in bounds
    ]
    showers = [min(int(mask.sum()) for mask in both) for both in zip(*masks, strict=True)]
    return {name: [place.title for place in places], f"{name}_GeV": in_GeV, f"{name}_showers": showers}


def _at_equal_depth(pair: Pair) -> Metrics:
    """Compare sampling fractions and hits at equal conditions and equal depth."""
    depth = f"moment1_{pair.samples[0].grid.axes[2]}"
    wanted = {"sampling_fraction", "hits", "leakage", depth}
    if not all(wanted <= set(sample.values) for sample in pair.samples):
        return {}
    tables = [
        np.column_stack([basis, leakage, leakage**2, mean, mean**2])
        for basis, leakage, mean in zip(
            pair.bases, pair.values("leakage"), pair.values(depth), strict=True
        )
    ]
    metrics: Metrics = {}
    for name, observable in (("energy_scale", "sampling_fraction"), ("hit_scale", "hits")):
        y = pair.values(observable)
        curve = fit_curve(tables[0], y[0])
        metrics |= pair.metrics(name, ratio_of_means, y, [table @ curve for table in tables])
    return metrics


def _too_few_values(whole_N: Array) -> bool:
    """Tell whether the central width of whole numbers is too few of them to be measured."""
    defined = whole_N[np.isfinite(whole_N)]
    return len(defined) == 0 or width(defined)[0] < MIN_WHOLE


def _even(pair: Pair, y: Sequence[Array], f: Sequence[Array]) -> list[Array]:
    """Bring each shower's distance from its curve to one scale, as the reference's widths are at its conditions.

    Showers of different energies then have one width, and that of a range of energies is sharper: a mixture
    of widths has tails. What lies at one energy is scaled alike in both samples.
    """
    known = [f_N > 0 for f_N in f]
    relative = [
        np.where(k, y_N / np.where(k, f_N, 1) - 1, np.nan)
        for y_N, f_N, k in zip(y, f, known, strict=True)
    ]
    distance_N = np.abs(relative[0])
    if np.isfinite(distance_N).sum() < MIN_SHOWERS:
        return list(y)
    usual = float(np.nanmean(distance_N))
    curve = fit_curve(pair.bases[0], distance_N)
    scales = [
        usual / np.maximum(basis @ curve, NARROWEST * usual) if usual else 1.0 for basis in pair.bases
    ]
    return [
        np.where(k, f_N * (1 + r * scale), y_N)
        for y_N, f_N, r, k, scale in zip(y, f, relative, known, scales, strict=True)
    ]


def _spread_over_units(whole_N: Array, name: str, sample: int) -> Array:
    random = stream(0, "validate", "whole numbers", name, sample)
    return whole_N + random.uniform(-0.5, 0.5, len(whole_N))


def fit_curve(basis_NK: Array, y: Array) -> Array:
    """Fit curves to y (N,) or (N, M): where few showers or equal conditions leave them open, the shortest.

    Returns coefficients (K,) or (K, M); showers with anything undefined do not count.
    """
    good_N = np.isfinite(y.reshape(len(y), -1)).all(axis=1) & np.isfinite(basis_NK).all(axis=1)
    return np.asarray(np.linalg.lstsq(basis_NK[good_N], y[good_N], rcond=None)[0])


def ratio_of_means(reference: Array, candidate: Array) -> tuple[float, float]:
    """Return candidate over reference of sum y / sum f, with its error; each is (2, N): y and f."""
    ours, theirs = _slope(*reference), _slope(*candidate)
    return _ratio(ours, theirs) if abs(ours[0]) > SIGNIFICANCE * ours[1] else (math.nan, math.nan)


def _ratio_of_spreads(reference: Array, candidate: Array) -> tuple[float, float]:
    """Return candidate over reference of the spread of y / f, with its error.

    A ratio of r and one of 1 / r are equally far from 1, in errors: below 1 the error is not smaller than at 1.
    """
    ratio, error = _ratio(*(_relative_spread(y, f) for y, f in (reference, candidate)))
    return ratio, error / ratio if 0 < ratio < 1 else error


def _ratio(ours: tuple[float, float], theirs: tuple[float, float]) -> tuple[float, float]:
    """Divide a candidate's (value, error) by a reference's; NaN where that is zero."""
    if ours[0] == 0:
        return math.nan, math.nan
    ratio = theirs[0] / ours[0]
    return ratio, math.hypot(theirs[1], ratio * ours[1]) / abs(ours[0])


def _slope(y_N: Array, f_N: Array) -> tuple[float, float]:
    """Return sum y / sum f and its error; NaN of few showers, and where f adds up to nothing."""
    total = f_N.sum()
    if len(y_N) < MIN_SHOWERS or total == 0:
        return math.nan, math.nan
    slope = y_N.sum() / total
    return slope, math.sqrt(len(y_N)) * float(np.std(y_N - slope * f_N, ddof=1)) / abs(total)


def _relative_spread(y_N: Array, f_N: Array) -> tuple[float, float]:
    """Return the mean distance of y / f from its median, and its error; NaN of few showers, and where f is not positive.

    The error is at least that for a normal distribution: the distances of few values may be alike by luck.
    """
    if len(y_N) < MIN_SHOWERS or f_N.min() <= 0:
        return math.nan, math.nan
    values_N = y_N / f_N
    farthest = FARTHEST * width(values_N)[0] / 2
    distance_N = np.minimum(np.abs(values_N - np.median(values_N)), farthest)
    mean = float(distance_N.mean())
    error = max(float(np.std(distance_N, ddof=1)), NORMAL_DISTANCE_ERROR * mean)
    return mean, error / math.sqrt(len(values_N))


def width(values_N: Array) -> tuple[float, float]:
    """Return the width of the central 68.3 % of some values, and its error.

    The error comes from the spacing of their quantiles, by the asymptotic covariance of two quantiles
    p < q of n values, p (1 - q) / (n density_p density_q), and is at least what it is for a normal distribution:
    the spacing of few values is uncertain itself, and may be small by luck.
    """
    n = len(values_N)
    of_level = math.sqrt(TAIL * (1 - TAIL) / n)
    step = max(of_level, STEP)
    levels = [TAIL - step, TAIL, TAIL + step, 1 - TAIL - step, 1 - TAIL, 1 - TAIL + step]
    below, low, above, under, high, over = np.quantile(values_N, np.clip(levels, 0, 1))
    error_low, error_high = (of_level / step * gap / 2 for gap in (above - below, over - under))
    correlation = TAIL / (1 - TAIL)
    variance = error_low**2 + error_high**2 - 2 * correlation * error_low * error_high
    found = float(high - low)
    return found, max(math.sqrt(variance), NORMAL_WIDTH_ERROR * found / math.sqrt(n))
