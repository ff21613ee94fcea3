"""The verdict: limits, errors, bins of energy, and what YAML may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.comparison.differences import Metrics
from caloforge.comparison.requirements import Judgement, Requirement, judge, load_requirements
from caloforge.foundations.errors import UsageError


def verdict(metrics: Metrics, **requirement: object) -> Judgement:
    (judgement,) = judge(metrics, [Requirement.model_validate(requirement)])
    return judgement


@pytest.mark.parametrize(
    ("limit", "value", "error", "status"),
    [
        ({"within": 0.02}, 1.015, 0.001, "met"),
        ({"within": 0.02}, 0.985, 0.001, "met"),
        ({"within": 0.02}, 1.025, 0.003, "within errors"),
        ({"within": 0.02}, 0.975, 0.003, "within errors"),
        ({"within": 0.02}, 1.025, 0.001, "not met"),
        ({"within": 0.02}, 0.9, 0.001, "not met"),
        ({"at_most": 0.6}, 0.6, 0.01, "met"),
        ({"at_most": 0.6}, 0.61, 0.01, "within errors"),
        ({"at_most": 0.6}, 0.63, 0.01, "not met"),
        ({"at_least": 0.001}, 0.5, None, "met"),
        ({"at_least": 0.001}, 0.0009, None, "not met"),
        ({"at_most": 1}, None, None, "not measured"),
    ],
)
def test_a_value_is_held_against_its_limit(
    limit: dict[str, float], value: float | None, error: float | None, status: str
) -> None:
    judgement = verdict({"a.b": value, "a.b_err": error}, metric="a.b", **limit)
    assert judgement.status == status
    assert judgement.holds == (status in ("met", "within errors"))
    assert judgement.failing == ()


@given(value=st.floats(-10, 10), limit=st.floats(0, 5), error=st.floats(0, 1))
def test_the_excess_says_how_far_beyond(value: float, limit: float, error: float) -> None:
    check = verdict({"x": value, "x_err": error}, metric="x", at_most=limit).overall
    assert check.excess == value - limit
    assert (check.status == "met") == (value <= limit)
    assert (check.status == "not met") == (value > limit and value - limit > 2 * error)


def test_one_bin_of_energy_fails_a_requirement_that_holds_on_average() -> None:
    metrics: Metrics = {
        "energy_bins": ["10 to 100 GeV", "100 to 200 GeV", "200 to 300 GeV"],
        "ratio": 1.0,
        "ratio_err": 0.001,
        "ratio_by_energy": [1.05, 0.99, None],
        "ratio_by_energy_err": [0.005, 0.02, None],
    }
    judgement = verdict(metrics, metric="ratio", within=0.02)
    assert judgement.overall.status == "met"
    assert judgement.status == "not met"
    assert [(check.where, check.value) for check in judgement.failing] == [("10 to 100 GeV", 1.05)]
    assert [check.where for check in judgement.bins] == ["10 to 100 GeV", "100 to 200 GeV"]


def test_bins_may_have_a_limit_of_their_own_and_classifiers_have_quartiles() -> None:
    metrics: Metrics = {
        "auc.energy_quartiles": ["low", "middle", "high", "top"],
        "auc.low": 0.55,
        "auc.low_err": 0.01,
        "auc.low_by_energy": [0.7, 0.5, 0.5, 0.9],
        "auc.low_by_energy_err": [0.02] * 4,
    }
    judgement = verdict(metrics, metric="auc.low", at_most=0.6, by_energy=0.75)
    assert [check.where for check in judgement.failing] == ["top"]


def test_a_star_stands_for_every_axis() -> None:
    metrics: Metrics = {"shape.x.e": 0.1, "shape.x.e_err": 0.0, "shape.x.e_floor": 0.3, "shape.y.e": 0.2}
    requirement = Requirement(metric="shape.*.e", title="Profile along *", at_most=0.15)
    found = judge(metrics, [requirement])
    assert [(j.title, j.metric, j.status) for j in found] == [
        ("Profile along x", "shape.x.e", "met"),
        ("Profile along y", "shape.y.e", "not met"),
    ]


def test_what_a_detector_does_not_have_is_excused_only_where_it_may() -> None:
    missing = Requirement(metric="length", within=0.1)
    assert [j.status for j in judge({}, [missing])] == ["not measured"]
    assert judge({}, [missing.model_copy(update={"optional": True})]) == ()
    undefined = judge({"length": None}, [missing.model_copy(update={"optional": True})])
    assert [j.status for j in undefined] == ["not measured"]


def test_the_requirements_that_ship_are_complete() -> None:
    shipped = load_requirements()
    metrics = {requirement.metric for requirement in shipped}
    assert len(metrics) == len(shipped)
    assert {
        "auc.low",
        "auc.high",
        "adjusted_ratio.sampling_fraction",
        "shape.*.mean_rel_error",
    } <= metrics
    assert all(requirement.title for requirement in shipped)
    assert next(r for r in shipped if r.metric == "adjusted_ratio.sampling_fraction").within == 0.02


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
