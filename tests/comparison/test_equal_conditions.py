"""Ratios at equal conditions: blind to the incident spectrum, sharp on the response, honest errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic_samples import pair, sample

from caloforge.comparison.equal_conditions import equal_condition_metrics
from caloforge.foundations.units import GEV
from caloforge.showers import Conditions

Array = NDArray[np.float64]


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
    deposits = response(rng, ours), response(other_rng, theirs)
    raw = deposits[1].mean() / deposits[0].mean()
    metrics = equal_condition_metrics(
        pair(
            sample(ours, {"total_deposit": deposits[0]}), sample(theirs, {"total_deposit": deposits[1]})
        )
    )
    ratio, error = metrics["adjusted_ratio.total_deposit"], metrics["adjusted_ratio.total_deposit_err"]
    assert abs(ratio - 1) < 3 * error
    assert error < 0.002
    assert (abs(raw - 1) > 0.2) == falling


@settings(deadline=None, max_examples=5)
@given(scale=st.floats(0.8, 1.2), wider=st.floats(0.5, 2))
def test_a_scaled_and_smeared_response_is_read_off(scale: float, wider: float) -> None:
    """The same showers, scaled and spread out about the true curve, give these two numbers."""
    rng, ours = draw(3, 1000, falling=False)
    curve = 0.02 * ours.incident_energy.astype(np.float64)
    noise = rng.normal(size=1000) * 0.05
    metrics = equal_condition_metrics(
        pair(
            sample(ours, {"total_deposit": curve * (1 + noise)}),
            sample(ours, {"total_deposit": scale * curve * (1 + wider * noise)}),
        )
    )
    assert metrics["adjusted_ratio.total_deposit"] == pytest.approx(scale, rel=0.01)
    assert metrics["spread_ratio.total_deposit"] == pytest.approx(wider, rel=0.05)
    for value in metrics["adjusted_ratio.total_deposit_by_energy"]:
        assert value == pytest.approx(scale, rel=0.02)


@settings(deadline=None, max_examples=5)
@given(wider=st.floats(0.5, 2), shift=st.floats(-1, 1))
def test_the_spread_of_a_residual_is_read_off_wherever_its_mean_lies(wider: float, shift: float) -> None:
    rng, ours = draw(3, 1000, falling=False)
    noise = rng.normal(size=1000)
    metrics = equal_condition_metrics(
        pair(sample(ours, {"offset_x": noise}), sample(ours, {"offset_x": shift + wider * noise}))
    )
    assert metrics["spread_ratio.offset_x"] == pytest.approx(wider, rel=0.05)
    assert len([value for value in metrics["spread_ratio.offset_x_by_range"] if value]) > 5


def test_each_particle_is_compared_with_its_like() -> None:
    """Photons with 10 % too little are seen among the photons, and electrons stay as they are."""
    rng, ours = draw(7, 2000, falling=False)
    ours = replace(ours, pdg_id=np.where(rng.random(2000) < 0.5, 11, 22).astype(np.int32))
    values = response(rng, ours)
    low = np.where(ours.particle == 22, 0.9 * values, values)
    metrics = equal_condition_metrics(
        pair(sample(ours, {"total_deposit": values}), sample(ours, {"total_deposit": low}))
    )
    found = dict(
        zip(metrics["energy_ranges"], metrics["adjusted_ratio.total_deposit_by_range"], strict=True)
    )
    assert found["e- alone"] == pytest.approx(1)
    assert found["gamma alone"] == pytest.approx(0.9)
    one = replace(ours, pdg_id=None)
    alone = equal_condition_metrics(pair(*(sample(one, {"total_deposit": values}) for _ in range(2))))
    assert not [title for title in alone["energy_ranges"] if title.endswith("alone")]


def test_only_the_place_that_is_wrong_is_wrong() -> None:
    """A response 5 % too high at one point is seen there, in the ranges that hold it, and nowhere else."""
    rng, ours = draw(4, 4000, falling=True)
    other_rng, theirs = draw(5, 4000, falling=True)
    reference = sample(ours, {"total_deposit": response(rng, ours)})
    values = response(other_rng, theirs)
    places = pair(reference, sample(theirs, {"total_deposit": values})).places
    wrong = places.points[4]
    distorted = np.where(wrong.mask(theirs), 1.05 * values, values)
    metrics = equal_condition_metrics(pair(reference, sample(theirs, {"total_deposit": distorted})))
    name = "adjusted_ratio.total_deposit"
    found = (metrics[key] for key in ("energy_points", f"{name}_by_energy", f"{name}_by_energy_err"))
    for where, value, error in zip(*found, strict=True):
        assert abs(value - (1.05 if where == wrong.title else 1)) < 3.5 * error, where
    low, high = (round(bound / GEV, 3) for bound in wrong.energy)
    found = (metrics[key] for key in ("energy_ranges_GeV", f"{name}_by_range", f"{name}_by_range_err"))
    for bounds, value, error in zip(*found, strict=True):
        if bounds is not None:  # a range of angles holds all energies
            inside = bounds[0] < high - 0.1 and bounds[1] > low + 0.1
            assert value - 1 > 2 * error if inside else abs(value - 1) < 3.5 * error, bounds


def test_pulls_of_many_experiments_are_standard() -> None:
    """Over all energies and at each point: errors of means are right, those of spreads at least so."""
    pulls: dict[str, list[float]] = {"adjusted_ratio.hits": [], "spread_ratio.hits": []}
    for seed in range(20):
        rng, ours = draw(2 * seed, 400, falling=False)
        other_rng, theirs = draw(2 * seed + 1, 400, falling=False)
        metrics = equal_condition_metrics(
            pair(
                sample(ours, {"hits": response(rng, ours)}),
                sample(theirs, {"hits": response(other_rng, theirs)}),
            )
        )
        for name, found in pulls.items():
            values = [metrics[name], *metrics[f"{name}_by_energy"]]
            errors = [metrics[f"{name}_err"], *metrics[f"{name}_by_energy_err"]]
            found += [(value - 1) / error for value, error in zip(values, errors, strict=True)]
    assert min(map(len, pulls.values())) > 8 * 20
    for name, found in pulls.items():
        assert abs(np.mean(found)) < 0.3, name
        assert 0.7 < np.std(found) < 1.15, name


def test_what_has_no_ratio_is_null() -> None:
    rng, ours = draw(6, 400, falling=False)
    zero_mean = rng.normal(size=400)
    metrics = equal_condition_metrics(
        pair(
            sample(ours, {"moment3_x": zero_mean, "width_x": np.full(400, np.nan)}),
            sample(ours, {"moment3_x": zero_mean, "width_x": np.full(400, 1.0)}),
        )
    )
    assert {metrics[f"{what}.{name}"] for what in ("adjusted_ratio", "spread_ratio")
            for name in ("moment3_x", "width_x")} == {None}  # fmt: skip


def test_equal_conditions_make_a_curve_of_one_point() -> None:
    rng = np.random.default_rng(7)
    ours = Conditions.of(np.full(300, 1e5))
    metrics = equal_condition_metrics(
        pair(
            sample(ours, {"hits": rng.normal(1000, 30, 300)}),
            sample(ours, {"hits": rng.normal(1100, 30, 300)}),
        )
    )
    assert metrics["adjusted_ratio.hits"] == pytest.approx(1.1, abs=0.01)
    assert metrics["energy_points"] == ["100 GeV"]
