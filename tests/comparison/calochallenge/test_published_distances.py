"""FPD and KPD as published, beside the formulas written out, and closed forms where there are any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg, optimize

from caloforge.comparison.calochallenge.distances import _extend, published_fpd, published_kpd

Array = NDArray[np.float64]


def samples(n: int, m: int, n_features: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(n_features, n_features))
    return rng.normal(1, 1, (n, n_features)) @ mix, 1.1 * rng.normal(1, 1, (m, n_features)) @ mix


def direct_fpd(
    x: Array, y: Array, smallest: int, largest: int, points: int, batches: int
) -> tuple[float, float]:
    """Copy every shower that is drawn, take the root of the product of covariances, fit with bounds."""
    largest_F = np.abs(x).max(axis=0)
    random = np.random.default_rng(42)
    sizes = (1 / np.linspace(1 / smallest, 1 / largest, points)).astype(int)
    means = []
    for size in sizes:
        found = []
        for _ in range(batches):
            a, b = (z[random.choice(len(z), size)] / largest_F for z in (x, y))
            covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
            root = linalg.sqrtm(covariances[0] @ covariances[1]).real
            shift = a.mean(axis=0) - b.mean(axis=0)
            found.append(shift @ shift + np.trace(sum(covariances) - 2 * root))
        means.append(np.mean(found))
    line = np.stack([np.ones(points), 1 / sizes], axis=1)
    exact = float(optimize.nnls(line, np.array(means))[0][0])
    # jetnet's own fit, whose search ends a little early
    bounds = ([0, 0], [np.inf, np.inf])
    fit, covariance = optimize.curve_fit(lambda v, a, b: a + b * v, 1 / sizes, means, bounds=bounds)
    assert abs(exact - fit[0]) < 0.05 * covariance[0, 0] ** 0.5
    return exact, float(covariance[0, 0] ** 0.5)


def test_fpd_is_that_of_the_formulas_written_out() -> None:
    x, y = samples(60, 45, 4)
    chosen = {"smallest": 100, "largest": 300, "points": 4, "batches": 3}
    value, error = direct_fpd(x, y, **chosen)
    assert published_fpd(x, y, **chosen) == pytest.approx((value, error), rel=1e-3)
    assert published_fpd(x, y, **chosen)[0] == pytest.approx(value, rel=1e-6)


def test_fpd_of_gaussians_is_their_frechet_distance() -> None:
    rng = np.random.default_rng(1)
    shift, spread = np.array([0.5, 0.0, -0.3]), np.array([1.0, 1.5, 0.7])
    x, y = rng.normal(size=(20_000, 3)), shift + spread * rng.normal(size=(20_000, 3))
    scale = np.abs(x).max(axis=0)
    expected = float(np.sum((shift / scale) ** 2 + ((spread - 1) / scale) ** 2))
    assert published_fpd(x, y, batches=5)[0] == pytest.approx(expected, rel=0.06)


def test_kpd_is_that_of_double_sums_over_pairs() -> None:
    x, y = samples(9, 7, 3, seed=2)
    scale = np.abs(x).max(axis=0)
    size, values = 12, []
    for batch in range(3):
        random = np.random.default_rng(42 + 1000 * batch)
        a, b = (z[random.choice(len(z), size)] / scale for z in (x, y))
        within = [
            sum((p[i] @ p[j] / 3 + 1) ** 4 for i in range(size) for j in range(size) if i != j)
            / (size * (size - 1))
            for p in (a, b)
        ]
        across = sum((p @ q / 3 + 1) ** 4 for p in a for q in b) / size**2
        values.append(sum(within) - 2 * across)
    low, middle, high = np.percentile(values, (16.275, 50, 83.725))
    found = published_kpd(x, y, size=size, batches=3)
    assert found == pytest.approx((middle, (high - low) / 2), rel=1e-9)


def test_equal_sources_have_small_distances_and_a_shift_large_ones() -> None:
    x, y = samples(2000, 2000, 3, seed=3)
    same, other = x[:1000], x[1000:]
    near, far = published_kpd(same, other, size=1000), published_kpd(same, y, size=1000)
    assert near[0] < far[0] / 5
    assert (
        published_fpd(same, other, points=3, batches=2)[0]
        < published_fpd(same, y, points=3, batches=2)[0] / 5
    )


@given(st.permutations(range(5)), st.floats(1e-3, 1e3))
@settings(max_examples=15, deadline=None)
def test_units_and_order_of_features_do_not_matter(order: list[int], factor: float) -> None:
    x, y = samples(30, 30, 5)
    scale = factor ** np.arange(5)
    distances: tuple[Callable[[Array, Array], tuple[float, float]], ...] = (
        lambda a, b: published_kpd(a, b, size=40, batches=2),
        lambda a, b: published_fpd(a, b, smallest=40, largest=80, points=3, batches=2),
    )
    for distance in distances:
        again = distance((x * scale)[:, order], (y * scale)[:, order])
        assert again == pytest.approx(distance(x, y), rel=1e-6, abs=1e-9)


def test_a_feature_that_is_zero_in_the_reference_is_left_as_it_is() -> None:
    x, y = samples(50, 50, 2)
    zero, one = np.zeros((50, 1)), np.ones((50, 1))
    found = published_fpd(np.hstack([x, zero]), np.hstack([y, one]), batches=2)[0]
    assert found == pytest.approx(published_fpd(x, y, batches=2)[0] + 1, rel=1e-3)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=10))
@settings(max_examples=60, deadline=None)
def test_the_line_is_the_best_without_negative_values(values: list[float]) -> None:
    x = 1 / np.linspace(1, 5, len(values))
    value, error = _extend(x, np.array(values))
    design = np.stack([np.ones_like(x), x], axis=1)
    expected, residual = optimize.nnls(design, np.array(values))
    assert value == pytest.approx(expected[0], abs=1e-7)
    scatter = residual**2 / (len(values) - 2) * np.linalg.inv(design.T @ design)[0, 0]
    assert error == pytest.approx(np.sqrt(scatter), abs=1e-7)
