"""Response, linearity, resolution and tails of showers whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import nnls
from synthetic_samples import calorimeter, pair, sample, scan

from caloforge.comparison.energy_points import choose_places
from caloforge.comparison.equal_conditions import width
from caloforge.comparison.response import (
    SEEN_TAIL,
    TAILS,
    Response,
    core_fit,
    fit_resolution,
    measure_response,
    response_metrics,
)
from caloforge.foundations.units import GEV
from caloforge.showers import Conditions

SCAN = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
TERMS = ("a", "b", "c")


def measured(conditions: Conditions, fractions: np.ndarray) -> Response:
    made = sample(conditions, {"sampling_fraction": fractions})
    return measure_response(made, choose_places(conditions, conditions).points)


@given(a=st.floats(0, 1), b=st.floats(0, 0.1), c=st.floats(0, 1))
@example(a=0.2, b=0.0, c=0.0)
@example(a=0.0, b=0.02, c=0.3)
def test_exact_widths_give_exact_terms(a: float, b: float, c: float) -> None:
    widths = [(math.sqrt(a**2 / e + b**2 + (c / e) ** 2 + 1e-12), 1e-4) for e in SCAN]
    fit = fit_resolution(list(SCAN), widths)
    assert [fit[term] for term in TERMS] == pytest.approx([a, b, c], abs=2e-5, rel=1e-4)
    assert fit["chi2"] < 1e-3
    assert fit["points"] == len(SCAN)


@settings(max_examples=5)
@given(a=st.floats(0.05, 0.3), b=st.floats(0, 0.03), c=st.floats(0, 0.2), seed=st.integers(0, 99))
def test_injected_terms_come_back_within_their_errors(a: float, b: float, c: float, seed: int) -> None:
    """From showers to a, b, c: 1,000 of each energy of a scan; compared are the squares, which are fitted."""
    conditions = scan(*SCAN, showers=1000)
    rng = np.random.default_rng(seed)
    fits = measured(conditions, calorimeter(rng, conditions, a=a, b=b, c=c)).fits
    for found in fits:  # through central widths, and through those of the core
        for term, true in zip(TERMS, (a, b, c), strict=True):
            value, error = found[term], found[f"{term}_err"]
            assert abs(value**2 - true**2) < 4.5 * max(2 * value * error, error**2), term
        assert found["chi2"] < stats.chi2.isf(1e-6, len(SCAN) - 1)


@given(widths=st.lists(st.floats(0.01, 1), min_size=3, max_size=8))
def test_the_fit_is_that_of_scipys_non_negative_least_squares(widths: list[float]) -> None:
    """Whatever the widths, also where terms are at zero."""
    energies, value = np.array(SCAN[: len(widths)]), np.array(widths)
    error = 0.05 * value
    terms = np.stack([1 / energies, np.ones_like(energies), energies**-2], axis=1)
    weight = 1 / (2 * value * error)
    _, rest = nnls(terms * weight[:, None], value**2 * weight)
    fit = fit_resolution(energies.tolist(), list(zip(widths, error.tolist(), strict=True)))
    assert fit["chi2"] == pytest.approx(rest**2, rel=1e-6, abs=1e-6)
    assert all(fit[f"{term}_err"] > 0 for term in TERMS)


def test_errors_of_the_terms_are_their_scatter() -> None:
    rng = np.random.default_rng(3)
    truth = {"a": 0.2, "b": 0.02, "c": 0.15}
    exact = np.array([math.sqrt(0.2**2 / e + 0.02**2 + (0.15 / e) ** 2) for e in SCAN])
    error = 0.02 * exact
    fits = [
        fit_resolution(list(SCAN), list(zip(exact + error * rng.normal(size=8), error, strict=True)))
        for _ in range(300)
    ]
    for term, true in truth.items():
        pulls = [(fit[term] - true) / fit[f"{term}_err"] for fit in fits]
        assert abs(np.mean(pulls)) < 0.3, term
        assert 0.8 < np.std(pulls) < 1.2, term
    assert np.mean([fit["chi2"] for fit in fits]) == pytest.approx(len(SCAN) - 3, rel=0.1)


def test_two_points_are_no_curve() -> None:
    fit = fit_resolution([10.0, 20.0], [(0.1, 0.01), (0.07, 0.01)])
    assert {fit[term] for term in TERMS} == {None}


def test_widths_of_normal_numbers_are_sigma() -> None:
    """The central width and the core's fit, and their errors, over many experiments."""
    rng = np.random.default_rng(1)
    values = rng.normal(1, 0.1, (300, 400))
    core = np.array([core_fit(row) for row in values])
    central = np.array([width(row) for row in values]) / 2
    assert central[:, 0].mean() == pytest.approx(0.1, rel=0.01)
    assert core[:, 0].mean() == pytest.approx(1, abs=0.002)
    assert core[:, 1].mean() == pytest.approx(0.1, rel=0.02)
    pulls = (core[:, 1] - 0.1) / core[:, 2]
    assert 0.85 < pulls.std() < 1.25
    assert 0.75 < ((central[:, 0] - 0.1) / central[:, 1]).std() < 1.1


def test_the_core_ignores_a_low_tail() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(1, 0.05, 20_000)
    values[:2000] = rng.uniform(0.3, 0.8, 2000)
    mean, sigma, error = core_fit(values)
    assert mean == pytest.approx(1, abs=0.005)
    assert mean * sigma == pytest.approx(0.05, abs=max(3 * error, 0.0015))
    assert width(values)[0] / 2 > 1.1 * 0.05
    assert values.std() > 2 * 0.05


@pytest.mark.parametrize("values", [np.ones(19), np.ones(100)], ids=["few", "equal"])
def test_a_core_that_cannot_be_fitted_is_undefined(values: np.ndarray) -> None:
    assert all(math.isnan(x) for x in core_fit(values))


def test_a_bins_width_does_not_add_to_the_resolution() -> None:
    """A spectrum whose response grows with the energy has the resolution of single energies."""
    rng = np.random.default_rng(4)
    conditions = Conditions.of(10 * 50 ** rng.random(20_000) * GEV)
    grows = (conditions.incident_energy.astype(np.float64) / (100 * GEV)) ** 0.2
    found = measured(conditions, grows * calorimeter(rng, conditions, a=0.1, b=0.01))
    assert len(found.energy_GeV) >= 8
    for energy, (value, error), (core, core_error) in zip(
        found.energy_GeV, found.central, found.core, strict=True
    ):
        true = math.sqrt(0.1**2 / energy + 0.01**2)
        assert abs(value - true) < 4 * error + 0.01 * true
        assert abs(core - true) < 4 * core_error + 0.01 * true


def test_an_injected_non_linearity_is_measured() -> None:
    conditions = scan(*SCAN, showers=1000)
    bend = 1 + 0.03 * np.log10(conditions.incident_energy / (10 * GEV))
    rng = np.random.default_rng(5)
    found = measured(conditions, bend * calorimeter(rng, conditions, a=0.1))
    true = np.array([1 + 0.03 * math.log10(energy / 10) for energy in SCAN])
    linearity, error = np.array(found.linearity).T
    # Relative to their weighted mean, whatever that is: the ratios are the truth.
    pulls = (1 + linearity) / true
    np.testing.assert_array_less(np.abs(pulls / pulls.mean() - 1), 4 * error + 0.002)
    assert linearity[-1] - linearity[0] > 0.05
    flat = measured(conditions, calorimeter(rng, conditions, a=0.1))
    assert all(abs(value) < 4 * error for value, error in flat.linearity)
    assert [mean for mean, _ in flat.mean] == pytest.approx([0.02] * len(SCAN), rel=0.02)


def test_tails_are_counted() -> None:
    """Against the counts of a normal distribution of known width, and against those of the showers."""
    conditions = scan(10, showers=5000)
    fractions = 0.02 * (1 + 0.2 * np.random.default_rng(6).normal(size=5000))
    found = measured(conditions, fractions).tails
    in_medians = fractions.astype(np.float32) / np.median(fractions.astype(np.float32))
    normal = stats.norm(1, 0.2)
    for tail, (low, high) in TAILS.items():
        ((value, error),) = found[tail]
        assert value * 5000 == np.count_nonzero((in_medians >= low) & (in_medians < high)), tail
        expected = normal.cdf(high) - normal.cdf(low)
        assert abs(value - expected) < 4 * stats.binom.std(5000, expected) / 5000, tail
        assert error == pytest.approx(stats.binom.std(5000, expected) / 5000, rel=0.1), tail


def test_an_empty_tail_has_an_error() -> None:
    conditions = scan(10, showers=300)
    fractions = 0.02 * (1 + 0.01 * np.random.default_rng(7).normal(size=300))
    for ((value, error),) in measured(conditions, fractions).tails.values():
        assert value == 0
        assert 1 / 302 < error * math.sqrt(2) < 2 / 300


@pytest.mark.parametrize("sigma", [0.04, 0.06, 0.1], ids=["empty", "thin", "thick"])
def test_the_error_of_a_tails_ratio_is_never_too_small(sigma: float) -> None:
    """Repeated experiments of one source: the ratio scatters as its error says, or less."""
    rng, conditions = np.random.default_rng(8), scan(10, showers=400)
    pulls: dict[str, list[float]] = {tail: [] for tail in TAILS}
    for _ in range(60):
        samples = (
            sample(conditions, {"sampling_fraction": 0.02 * (1 + sigma * rng.normal(size=400))})
            for _ in range(2)
        )
        metrics = response_metrics(pair(*samples))
        for tail, found in pulls.items():
            name = f"tail_ratio.{tail}"
            found.append((metrics[name] - 1) / metrics[f"{name}_err"])
    for tail, found in pulls.items():
        assert np.std(found) < 1.2, tail
        assert abs(np.mean(found)) < 0.45, tail


def test_a_tail_that_is_twice_as_thick_is_twice_as_thick() -> None:
    rng, conditions = np.random.default_rng(9), scan(10, 50, showers=4000)

    def with_tail(part: float) -> dict[str, np.ndarray]:
        values = 1 + 0.03 * rng.normal(size=8000)
        return {"sampling_fraction": np.where(rng.random(8000) < part, 0.6, values)}

    found = response_metrics(
        pair(sample(conditions, with_tail(0.05)), sample(conditions, with_tail(0.1)))
    )
    for tail in ("below_0.85", "below_0.7"):
        name = f"tail_ratio.{tail}"
        values, errors = found[f"{name}_by_energy"], found[f"{name}_by_energy_err"]
        assert len(values) == 2
        for value, error in zip([found[name], *values], [found[f"{name}_err"], *errors], strict=True):
            assert abs(value - 2) < 4 * error < 1
    # What hardly any shower has is compared with half a per cent of them.
    assert found["tail_ratio.above_1.15"] == pytest.approx(1, abs=4 * found["tail_ratio.above_1.15_err"])
    assert found["tail_ratio.above_1.15_err"] < 0.02 / SEEN_TAIL


def test_metrics_are_lists_with_an_entry_a_point() -> None:
    rng, conditions = np.random.default_rng(10), scan(5, 20, 80, showers=300)
    found = response_metrics(
        pair(*(sample(conditions, {"sampling_fraction": calorimeter(rng, conditions)}) for _ in "ab"))
    )
    assert found["response"]["energy_GeV"] == pytest.approx([5, 20, 80])
    for curve, prefixes in (("response", ("", "linearity_")), ("resolution", ("", "core_"))):
        for prefix in prefixes:
            for side in ("reference", "candidate"):
                for end in ("", "_err"):
                    assert len(found[curve][f"{prefix}{side}{end}"]) == 3
    assert set(found["resolution"]["fit"]) == {"reference", "candidate"}
    assert set(TAILS) <= set(found["tails"])
