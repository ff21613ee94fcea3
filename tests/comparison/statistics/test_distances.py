"""FPD and KPD: the published definitions, zero without a difference, closed forms where there are any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg

from caloforge.comparison.statistics.distances import (
    fpd,
    frechet_distance,
    kernel_distance,
    kpd,
    standardise,
)
from caloforge.foundations.errors import CaloforgeError

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], tuple[float, float]]


def covariance(rng: np.random.Generator, n: int) -> Array:
    root = rng.normal(size=(n, n))
    return np.asarray(root @ root.T + 0.1 * np.eye(n))


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_frechet_distance_agrees_with_the_matrix_root_of_the_product(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = covariance(rng, n), covariance(rng, n)
    m, k = rng.normal(size=(2, n))
    expected = np.sum((m - k) ** 2) + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert frechet_distance(m, a, k, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert frechet_distance(m, a, m, a) == pytest.approx(0, abs=1e-6 * np.trace(a))


def test_frechet_distance_of_independent_columns_is_a_sum() -> None:
    m, k = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    s, t = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5])
    expected = np.sum((m - k) ** 2 + (s - t) ** 2)
    assert frechet_distance(m, np.diag(s**2), k, np.diag(t**2)) == pytest.approx(expected)


def test_kernel_distance_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 3)), rng.normal(1, 2, size=(5, 3))

    def kernel(a: Array, b: Array) -> float:
        return float((np.dot(a, b) / 3 + 1) ** 4)

    within_x = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across)


def test_fpd_of_known_gaussians() -> None:
    rng = np.random.default_rng(2)
    mix = covariance(rng, 5)
    reference, candidate = rng.normal(size=(2, 4000, 5)) @ mix
    candidate = 1.2 * candidate + 0.3 * mix[0]
    scale = mix.T @ mix / np.sqrt(np.outer(*[np.diag(mix.T @ mix)] * 2))
    shift = 0.3 * mix[0] / np.sqrt(np.diag(mix.T @ mix))
    expected = frechet_distance(np.zeros(5), scale, shift, 1.44 * scale)
    value, error = fpd(reference, candidate)
    assert value == pytest.approx(expected, abs=3 * error)
    assert error < 0.2 * expected


@pytest.mark.parametrize("distance", [fpd, kpd])
def test_equal_samples_are_at_zero_within_the_error(distance: Distance) -> None:
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(20):
        value, error = distance(*rng.normal(size=(2, 400, 20)))
        pulls.append(value / error)
    assert abs(np.mean(pulls)) < 0.6
    assert 0.3 < np.std(pulls) < 1.3


@pytest.mark.long
def test_kpd_of_a_shift_is_what_the_kernel_says() -> None:
    rng = np.random.default_rng(4)
    reference, candidate = rng.normal(size=(2, 2000, 4))
    candidate += 0.5
    # E k(x, y) for independent Gaussians, by brute force on fresh samples.
    x, y = rng.normal(size=(2, 3000, 4))
    expected = kernel_distance(x, y + 0.5)
    value, error = kpd(reference, candidate)
    assert value == pytest.approx(expected, abs=4 * error)
    assert value > 5 * error


def test_features_are_scaled_by_the_reference_alone() -> None:
    rng = np.random.default_rng(5)
    reference = np.column_stack([rng.normal(3, 2, 1000), np.full(1000, 7.0), rng.normal(size=1000)])
    candidate = reference + np.array([2, 1, 0])
    reference[::2, 2] = np.nan
    candidate[0] = [1e9, 0, np.nan]
    ours, theirs = standardise(reference, candidate)
    assert ours.shape == theirs.shape == (1000, 2)
    assert ours.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert ours[:, 0].std() == pytest.approx(1, abs=0.02)
    assert np.median(theirs[1:, 0] - ours[1:, 0]) == pytest.approx(1, abs=0.05)
    assert list(theirs[0]) == [5.0, 0.0]
    assert not ours[::2, 1].any()


@pytest.mark.parametrize("distance", [fpd, kpd])
def test_what_cannot_be_compared_is_told(distance: Distance) -> None:
    few, many = np.zeros((5, 2)), np.random.default_rng(6).normal(size=(50, 2))
    with pytest.raises(CaloforgeError, match="candidate: expected at least 20 showers, found 5"):
        distance(many, few)
    with pytest.raises(CaloforgeError, match="expected observables that vary"):
        distance(np.ones((50, 2)), many)
