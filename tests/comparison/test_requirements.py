"""The verdict: limits, intervals, what chance would do, showers that would decide, and what YAML may say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.comparison.differences import Metrics
from caloforge.comparison.requirements import (
    STATES,
    Check,
    Judgement,
    Requirement,
    judge,
    load_requirements,
)
from caloforge.foundations.errors import UsageError

ONE_OF_ONE = 1.959964
"""Errors of an interval of 95 %, and of a chance of 5 %, two-sided."""


def verdict(metrics: Metrics, **requirement: object) -> Judgement:
    (judgement,) = judge(metrics, [Requirement.model_validate(requirement)])
    return judgement


def by_energy(name: str, *values: float | None, error: float) -> Metrics:
    """Numbers over all energies (the first) and at points of 10, 20, ... GeV."""
    points = [f"{10 * (i + 1)} GeV" for i in range(len(values) - 1)]
    return {
        "energy_points": points,
        "energy_points_GeV": [[10 * i + 5.0, 10 * i + 15.0] for i in range(len(points))],
        name: values[0],
        f"{name}_err": error,
        f"{name}_by_energy": list(values[1:]),
        f"{name}_by_energy_err": [error] * len(points),
    }


@pytest.mark.parametrize(
    ("limit", "metric", "value", "error", "state"),
    [
        ({"within": 0.02}, "a_ratio.b", 1.015, 0.001, "met"),
        ({"within": 0.02}, "a_ratio.b", 0.985, 0.001, "met"),
        ({"within": 0.02}, "a_ratio.b", 1.015, 0.003, "undecided"),  # inside, but the interval is not
        ({"within": 0.02}, "a_ratio.b", 1.025, 0.003, "undecided"),
        ({"within": 0.02}, "a_ratio.b", 0.975, 0.002, "failed"),
        ({"within": 0.02}, "a_ratio.b", 1.0, 0.011, "undecided"),  # as wide as the limit
        ({"within": 0.05}, "difference", -0.03, 0.001, "met"),
        ({"within": 0.05}, "difference", -0.08, 0.001, "failed"),
        ({"at_most": 0.6}, "auc.low", 0.57, 0.01, "met"),
        ({"at_most": 0.6}, "auc.low", 0.59, 0.01, "undecided"),
        ({"at_most": 0.6}, "auc.low", 0.63, 0.01, "failed"),
        ({"at_most": 0.1}, "separation", 0.1, 0.0, "met"),
        ({"at_least": 0.001}, "nearest_neighbour.p_value", 0.5, None, "met"),
        ({"at_least": 0.001}, "nearest_neighbour.p_value", 0.0009, None, "failed"),
        ({"at_most": 1}, "separation", None, None, "undecided"),
    ],
)
def test_an_interval_is_held_against_its_limit(
    limit: dict[str, float], metric: str, value: float | None, error: float | None, state: str
) -> None:
    judgement = verdict({metric: value, f"{metric}_err": error}, metric=metric, **limit)
    assert judgement.state == state
    assert judgement.worst.value == value
    assert [len(judgement.of(one)) for one in STATES] == [int(one == state) for one in STATES]


@given(
    value=st.floats(0.5, 1.5),
    error=st.floats(1e-4, 0.3),
    limit=st.floats(0.001, 0.3),
    others=st.integers(0, 200),
)
def test_each_state_is_what_it_says(value: float, error: float, limit: float, others: int) -> None:
    """Met: 95 % inside. Failed: 95 % outside, and 1 further from perfect than chance among all checks."""
    metrics = by_energy("a_ratio", value, *[1.0] * others, error=error)
    judgement = verdict(metrics, metric="a_ratio", within=limit)
    (check,) = (check for check in judgement.checks if check.where == "all energies")
    excess, deviation = abs(value - 1) - limit, abs(value - 1)
    # The chance of such a deviation, or a larger one, in any of so many checks.
    by_chance = (1 + others) * math.erfc(deviation / error / math.sqrt(2))
    if abs(abs(excess) / error - ONE_OF_ONE) < 1e-3 or abs(by_chance - 0.05) < 1e-3:
        return
    met, outside = (sign * excess > ONE_OF_ONE * error for sign in (-1, 1))
    state = "met" if met else "failed" if outside and by_chance < 0.05 else "undecided"
    assert check.state == state
    assert check.interval == pytest.approx(
        (value - ONE_OF_ONE * error, value + ONE_OF_ONE * error), abs=1e-6
    )


@pytest.mark.parametrize("n_checks", [1, 20, 200])
def test_one_verdict_in_twenty_on_the_same_source_fails_anything(n_checks: int) -> None:
    """Even where limits are far too tight for the errors: what is failed is no luck."""
    rng, failed, repeated = np.random.default_rng(n_checks), 0, 400
    for _ in range(repeated):
        values = 1 + 0.01 * rng.normal(size=n_checks)
        metrics = by_energy("a_ratio", *values.tolist(), error=0.01)
        failed += verdict(metrics, metric="a_ratio", within=0.0).state == "failed"
    assert failed / repeated < 0.05 + 4 * math.sqrt(0.05 * 0.95 / repeated)
    assert failed / repeated > 0.01  # nor is it blind


@given(
    gap=st.floats(0.005, 0.05),
    errors=st.floats(-1.9, 1.9),
    n=st.integers(100, 100_000),
)
def test_so_many_showers_decide(gap: float, errors: float, n: int) -> None:
    """An error falls with the square root: with as many as are asked for the same value is decided."""
    limit = 0.02
    value = 1 + limit + (gap if errors > 0 else -min(gap, limit))
    error = abs(value - 1 - limit) / max(abs(errors), 0.05)
    metrics: Metrics = {"n_reference": n, "n_candidate": 2 * n, "a_ratio": value, "a_ratio_err": error}
    judgement = verdict(metrics, metric="a_ratio", within=limit)
    assert judgement.state == "undecided"
    needed = judgement.showers
    assert needed is not None
    assert needed > n
    gap = abs(value - 1 - limit)
    assert needed == pytest.approx(n * (ONE_OF_ONE * error / gap) ** 2, rel=1e-3, abs=1)
    then = {**metrics, "a_ratio_err": error * math.sqrt(n / (needed + 1))}
    assert verdict(then, metric="a_ratio", within=limit).state == ("failed" if value > 1.02 else "met")


def test_a_value_on_its_limit_asks_for_no_endless_showers() -> None:
    metrics: Metrics = {"n_reference": 400, "n_candidate": 400, "a_ratio": 1.02, "a_ratio_err": 0.01}
    needed = verdict(metrics, metric="a_ratio", within=0.02).showers
    assert needed == pytest.approx(400 * (ONE_OF_ONE * 0.01 / 0.004) ** 2, abs=1)


def test_what_is_not_measured_tells_no_number_of_showers() -> None:
    judgement = verdict({"n_reference": 9, "n_candidate": 9, "a": None}, metric="a", at_most=1)
    assert (judgement.state, judgement.showers, judgement.worst.interval) == ("undecided", None, None)


def test_one_point_of_energy_fails_a_requirement_that_holds_on_average() -> None:
    metrics = by_energy("a_ratio", 1.0, 1.05, 0.99, None, error=0.002)
    judgement = verdict(metrics, metric="a_ratio", within=0.02)
    assert judgement.state == "failed"
    assert [(check.where, check.value) for check in judgement.of("failed")] == [("10 GeV", 1.05)]
    assert [check.where for check in judgement.of("met")] == ["all energies", "20 GeV"]
    assert len(judgement.checks) == 3  # nothing was measured at the last point
    assert judgement.worst.energies_GeV == (5, 15)


def test_ranges_of_energy_are_checked_too() -> None:
    metrics = by_energy("a_ratio", 1.0, 1.0, 1.0, error=0.002) | {
        "energy_ranges": ["5 to 25 GeV"],
        "energy_ranges_GeV": [[5, 25]],
        "a_ratio_by_range": [0.9],
        "a_ratio_by_range_err": [0.001],
    }
    judgement = verdict(metrics, metric="a_ratio", within=0.02)
    assert (judgement.worst.where, judgement.worst.energies_GeV) == ("5 to 25 GeV", (5, 25))
    assert judgement.state == "failed"


def test_points_may_have_a_limit_of_their_own_and_classifiers_have_quartiles() -> None:
    metrics: Metrics = {
        "auc.energy_quartiles": ["low", "middle", "high", "top"],
        "auc.low": 0.55,
        "auc.low_err": 0.01,
        "auc.low_by_energy": [0.7, 0.5, 0.5, 0.9],
        "auc.low_by_energy_err": [0.02] * 4,
    }
    judgement = verdict(metrics, metric="auc.low", at_most=0.6, by_energy=0.75)
    assert [(check.where, check.limit) for check in judgement.of("failed")] == [("top", 0.75)]


def test_a_floor_is_no_difference() -> None:
    """What two samples of one source would have is no fault, but luck of a classifier is no floor."""
    metrics = {"separation.a": 0.012, "separation.a_err": 0.001, "separation.a_floor": 0.011}
    assert verdict(metrics, metric="separation.a", at_most=0.005).state == "met"
    assert (
        verdict(metrics | {"separation.a_floor": 0.0}, metric="separation.a", at_most=0.005).state
        == "failed"
    )
    auc = {"auc.low": 0.63, "auc.low_err": 0.01, "auc.low_floor": 0.6}
    assert verdict(auc, metric="auc.low", at_most=0.6).state == "failed"


def test_a_star_stands_for_every_layer_and_part_says_which() -> None:
    metrics: Metrics = {
        "layer_gain.3": 1.0, "layer_gain.3_err": 0.001, "layer_gain.3_by_energy": [1.0, 1.1],
        "layer_gain.3_by_energy_err": [0.001, 0.001], "energy_points": ["10 GeV", "20 GeV"],
        "layer_gain.4": 1.03, "layer_gain.4_err": 0.001, "layer_gain.5": None, "layer_gain.5_err": None,
    }  # fmt: skip
    judgement = verdict(metrics, title="Gain", metric="layer_gain.*", part="layer *", within=0.01)
    failed = sorted(judgement.of("failed"), key=judgement.urgency)
    assert [check.where for check in failed] == ["layer 4, all energies", "layer 3, 20 GeV"]
    assert judgement.worst == failed[-1]
    assert {check.where for check in judgement.of("met")} == {"layer 3, all energies", "layer 3, 10 GeV"}
    assert not judgement.of("undecided")


def test_what_a_detector_does_not_have_is_excused_only_where_it_may() -> None:
    missing = Requirement(metric="length", within=0.1)
    assert [j.state for j in judge({}, [missing])] == ["undecided"]
    assert judge({}, [missing.model_copy(update={"optional": True})]) == ()
    undefined = judge({"length": None}, [missing.model_copy(update={"optional": True})])
    assert [j.state for j in undefined] == ["undecided"]


@given(states=st.lists(st.sampled_from(STATES), min_size=1, max_size=6))
def test_a_requirement_is_as_good_as_its_worst_check(states: list[Any]) -> None:
    checks = tuple(Check(str(i), 1.0, 0.1, 0.1, state=state) for i, state in enumerate(states))
    judgement = Judgement(Requirement(metric="a_ratio", within=0.1), "A", checks)
    expected = next(s for s in ("failed", "undecided", "met") if s in states)
    assert judgement.state == judgement.worst.state == expected


def test_metrics_json_holds_name_range_value_interval_limit_state_and_showers() -> None:
    metrics = {"n_reference": 400, "n_candidate": 400} | by_energy(
        "a_ratio", 1.0, 1.5, 1.02, 1.0, error=0.005
    )
    entry = verdict(metrics, title="Thing", metric="a_ratio", within=0.02).to_json()
    assert entry["failed"] == [{key: entry[key] for key in entry["failed"][0]}]
    del entry["failed"]
    interval = entry.pop("interval")
    assert interval == pytest.approx([1.5 - ONE_OF_ONE * 0.005, 1.5 + ONE_OF_ONE * 0.005])
    assert entry == {
        "name": "Thing",
        "metric": "a_ratio",
        "state": "failed",
        "checks": {"met": 2, "undecided": 1, "failed": 1},
        "showers": 2401,  # 1.02 is taken to be 0.004 from its limit
        "where": "10 GeV",
        "energy_range_GeV": [5, 15],
        "value": 1.5,
        "limit": 0.02,
    }
    empty = verdict({}, metric="a", at_most=1).to_json()
    assert [empty[key] for key in ("value", "interval", "energy_range_GeV", "showers")] == [None] * 4


def test_the_requirements_that_ship_are_complete() -> None:
    shipped = {requirement.metric: requirement for requirement in load_requirements()}
    assert len(shipped) == len(load_requirements())
    assert all(requirement.title for requirement in shipped.values())
    for metric, limit in (
        ("adjusted_ratio.sampling_fraction", 0.01),
        ("spread_ratio.sampling_fraction", 0.05),
        ("tail_ratio.*", 0.3),
        ("profile_ratio.z.*", 0.05),
        *((f"adjusted_ratio.{name}", 0.02) for name in ("hits", "width_across", "barycentre_depth")),
        *((f"spread_ratio.{name}", 0.05) for name in ("hits", "width_across", "barycentre_depth")),
    ):
        requirement = shipped[metric]
        assert requirement.within is not None, metric
        assert max(requirement.within, requirement.by_energy or 0) == limit, metric
    assert {"auc.low", "auc.high", "nearest_neighbour.p_value"} <= set(shipped)
    assert all("*" in r.part and r.part != "*" for r in shipped.values() if "*" in r.metric)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("requirements: []", "line 1, field requirements"),
        ("requirements:\n- {metric: a, at_most: 1}\n- {metric: b}", "line 3, field requirements.1: expected one"),
        ("requirements:\n- {metric: a, at_most: 1, within: 1}", "expected one of within, at_most and at_least"),
        ("requirements:\n- {metric: a b, at_most: 1}", "line 2, field requirements.0.metric"),
        ("requirements:\n- {metric: a.*.*, at_most: 1}", "field requirements.0.metric"),
        ("requirements:\n- {metric: a, at_most: -1}", "field requirements.0.at_most"),
        ("requirements:\n- {metric: a, at_most: nan}", "field requirements.0.at_most"),
        ("requirements:\n- {metric: a, most: 1}", "field requirements.0.most"),
        ("limits: 1", "line 1, field"),
        ("- a", "expected a mapping with requirements"),
        ("a: [", "line 1"),
        ("\udcff", "expected requirements in YAML in UTF-8"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        load_requirements(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_list_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml: no such file"):
        load_requirements(tmp_path / "none.yaml")


def test_a_star_passes_over_curves_and_titles() -> None:
    metrics: Metrics = {"auc.low": 0.5, "auc_curve": {"low": [0.5]}, "auc.energy_quartiles": ["a", "b"]}
    judgement = verdict(metrics, metric="auc*", at_most=0.6)
    assert [check.value for check in judgement.checks] == [0.5]
