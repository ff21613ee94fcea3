"""Kolmogorov-Smirnov tests agree with the exact law, and many of them at once raise no false alarm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from caloforge.comparison.statistics.kolmogorov import compare_distributions, ks_test


@given(st.integers(20, 300), st.integers(20, 300), st.floats(0, 1), st.integers(0, 10**6))
def test_the_p_value_is_near_the_exact_one(n: int, m: int, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, n), rng.normal(shift, 1, m)
    exact = ks_2samp(a, b, method="exact")
    distance, found = ks_test(a, b)
    assert distance == pytest.approx(exact.statistic, abs=1e-12)
    # Distances are steps for samples this small, and the limit runs between the steps.
    assert found == pytest.approx(exact.pvalue, rel=0.35, abs=0.08)


def test_a_large_sample_has_the_exact_p_value() -> None:
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.05, 0.1):
        a, b = rng.normal(0, 1, 1999), rng.normal(shift, 1, 1500)
        expected = ks_2samp(a, b, method="exact").pvalue
        assert ks_test(a, b)[1] == pytest.approx(expected, rel=0.1, abs=0.01)


@pytest.mark.long
def test_corrected_for_their_number_tests_raise_no_false_alarm_and_find_what_differs() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        reference, candidate = ({str(i): rng.normal(size=100) for i in range(20)} for _ in range(2))
        found = compare_distributions(reference, candidate)
        alarms += min(test.p_corrected for test in found.values()) < 0.05
    assert 0 < alarms < 20  # 10 expected; without correction, 128
    candidate["3"] = rng.normal(1, 1, 100)
    found = compare_distributions(reference, candidate)
    assert [name for name, test in found.items() if test.p_corrected < 0.01] == ["3"]


def test_holms_steps() -> None:
    rng = np.random.default_rng(3)
    reference = {name: rng.normal(size=200) for name in "abc"}
    candidate = {
        name: rng.normal(shift, 1, 200) for name, shift in zip("abc", (0.2, 0.3, 0.25), strict=True)
    }
    found = compare_distributions(reference, candidate)
    low, middle, high = sorted(found.values(), key=lambda test: test.p_value)
    assert low.p_corrected == pytest.approx(min(1, 3 * low.p_value))
    assert middle.p_corrected == pytest.approx(max(low.p_corrected, 2 * middle.p_value))
    assert high.p_corrected == pytest.approx(max(middle.p_corrected, high.p_value))


def test_undefined_values_and_thin_or_lone_observables_are_left_out() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=50)
    gaps = np.append(values, [np.nan] * 30)
    found = compare_distributions(
        {"x": gaps, "thin": np.append(values[:7], [np.nan] * 9), "lone": values},
        {"x": values, "thin": values},
    )
    assert list(found) == ["x"]
    assert (found["x"].distance, found["x"].p_value, found["x"].p_corrected) == (0, 1, 1)
