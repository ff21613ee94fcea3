"""Ratios at equal conditions: blind to the incident spectrum, sharp on the response, honest errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from caloforge.comparison.equal_conditions import equal_condition_metrics
from caloforge.comparison.samples import Sample
from caloforge.comparison.selections import choose_selections
from caloforge.detector import Grid
from caloforge.observables.sparse_showers import SparseShowers
from caloforge.showers import Conditions

Array = NDArray[np.float64]
GRID = Grid("none", (1, 1, 1))


def sample(
    conditions: Conditions, against: Conditions, values: dict[str, NDArray[np.float64]]
) -> Sample:
    """Make a sample that holds values and nothing else."""
    n = len(conditions)
    empty = np.zeros((0, 0, 0))
    return Sample(
        grid=GRID,
        conditions=conditions,
        selections=choose_selections(against, against)[0],
        group_N=np.zeros(n, np.int64),
        values={name: array.astype(np.float32) for name, array in values.items()},
        kept=np.zeros(0, np.int64),
        vectors={},
        hits=SparseShowers.of(np.zeros((0, 1, 1, 1), np.float32)),
        columns={},
        showers_SG=np.zeros((0, 0)),
        count_SGM=empty,
        first_SGM=empty,
        second_SGM=empty,
    )


def response(rng: np.random.Generator, conditions: Conditions) -> Array:
    """A sampling calorimeter: 2 % of the energy, falling slowly, with a stochastic term."""
    energy = conditions.incident_energy.astype(np.float64)
    tilt = 1 + 0.1 * (conditions.incident_theta - np.pi / 2) ** 2
    mean = 0.022 * energy**0.99 * tilt
    return mean * (1 + rng.normal(size=len(energy)) * 0.8 / np.sqrt(energy / 100))


def draw(seed: int, n: int, *, falling: bool) -> tuple[np.random.Generator, Conditions]:
    rng = np.random.default_rng(seed)
    uniform = rng.uniform(0, 1, n)
    energy = 1e4 * 50**uniform if falling else 1e4 + 4.9e5 * uniform
    return rng, Conditions.of(energy, rng.uniform(1.1, 2.0, n))


@pytest.mark.parametrize("falling", [False, True], ids=["same spectrum", "other spectrum"])
def test_another_spectrum_of_energies_is_no_difference(falling: bool) -> None:
    rng, ours = draw(1, 2000, falling=False)
    other_rng, theirs = draw(2, 2000, falling=falling)
    pair = (
        sample(ours, ours, {"total_deposit": response(rng, ours)}),
        sample(theirs, ours, {"total_deposit": response(other_rng, theirs)}),
    )
    raw = pair[1].values["total_deposit"].mean() / pair[0].values["total_deposit"].mean()
    metrics = equal_condition_metrics(*pair)
    ratio, error = metrics["adjusted_ratio.total_deposit"], metrics["adjusted_ratio.total_deposit_err"]
    assert abs(ratio - 1) < 3 * error
    assert error < 0.002
    assert (abs(raw - 1) > 0.2) == falling


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.8, 1.2), wider=st.floats(0.5, 2))
def test_a_scaled_and_smeared_response_is_read_off(scale: float, wider: float) -> None:
    """The same showers, scaled and spread out about the true curve, give these two numbers."""
    rng, ours = draw(3, 1000, falling=False)
    curve = 0.02 * ours.incident_energy.astype(np.float64)
    noise = rng.normal(size=1000) * 0.05
    metrics = equal_condition_metrics(
        sample(ours, ours, {"total_deposit": curve * (1 + noise)}),
        sample(ours, ours, {"total_deposit": scale * curve * (1 + wider * noise)}),
    )
    assert metrics["adjusted_ratio.total_deposit"] == pytest.approx(scale, rel=0.01)
    assert metrics["spread_ratio.total_deposit"] == pytest.approx(wider, rel=0.05)
    for value in metrics["adjusted_ratio.total_deposit_by_energy"]:
        assert value == pytest.approx(scale, rel=0.02)


def test_only_the_bin_that_is_wrong_is_wrong() -> None:
    rng, ours = draw(4, 4000, falling=False)
    other_rng, theirs = draw(5, 4000, falling=False)
    values = response(other_rng, theirs)
    low, high = np.quantile(ours.incident_energy, (0.4, 0.6))
    middle = (theirs.incident_energy > low) & (theirs.incident_energy < high)
    metrics = equal_condition_metrics(
        sample(ours, ours, {"total_deposit": response(rng, ours)}),
        sample(theirs, ours, {"total_deposit": np.where(middle, 1.05 * values, values)}),
    )
    assert len(metrics["energy_bins"]) == 5
    ratios = metrics["adjusted_ratio.total_deposit_by_energy"]
    assert ratios[2] == pytest.approx(1.05, abs=0.005)
    assert [ratios[i] for i in (0, 1, 3, 4)] == pytest.approx([1] * 4, abs=0.01)


def test_pulls_of_many_experiments_are_standard() -> None:
    pulls: dict[str, list[float]] = {"adjusted_ratio": [], "spread_ratio": []}
    for seed in range(150):
        rng, ours = draw(2 * seed, 400, falling=False)
        other_rng, theirs = draw(2 * seed + 1, 400, falling=False)
        metrics = equal_condition_metrics(
            sample(ours, ours, {"hits": response(rng, ours)}),
            sample(theirs, ours, {"hits": response(other_rng, theirs)}),
        )
        for what, found in pulls.items():
            found.append((metrics[f"{what}.hits"] - 1) / metrics[f"{what}.hits_err"])
    for found in pulls.values():
        assert abs(np.mean(found)) < 0.3
        assert 0.8 < np.std(found) < 1.2


def test_what_has_no_ratio_is_null() -> None:
    rng, ours = draw(6, 400, falling=False)
    zero_mean = rng.normal(size=400)
    metrics = equal_condition_metrics(
        sample(ours, ours, {"moment3_x": zero_mean, "width_x": np.full(400, np.nan)}),
        sample(ours, ours, {"moment3_x": zero_mean, "width_x": np.full(400, 1.0)}),
    )
    assert {metrics[f"{what}.{name}"] for what in ("adjusted_ratio", "spread_ratio")
            for name in ("moment3_x", "width_x")} == {None}  # fmt: skip


def test_equal_conditions_make_a_curve_of_one_point() -> None:
    rng = np.random.default_rng(7)
    ours = Conditions.of(np.full(300, 1e5))
    metrics = equal_condition_metrics(
        sample(ours, ours, {"hits": rng.normal(1000, 30, 300)}),
        sample(ours, ours, {"hits": rng.normal(1100, 30, 300)}),
    )
    assert metrics["adjusted_ratio.hits"] == pytest.approx(1.1, abs=0.01)
    assert metrics["energy_bins"] == ["100 GeV"]
