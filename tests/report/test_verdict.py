"""The verdict in words: what fails, where, by how much, and how many showers would tell."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import HOSTILE, POINTS, metrics, small_report

from caloforge.comparison.differences import Metrics
from caloforge.comparison.requirements import Judgement, Requirement, judge
from caloforge.report.page.content import Report
from caloforge.report.page.numbers import (
    energy_tables,
    key_metrics_table,
    observable_table,
    resolution_table,
)
from caloforge.report.page.summary import build_summary
from caloforge.report.page.verdict import (
    LISTED,
    MINUS,
    SIGMA,
    _round_up,
    beside_the_energy,
    beyond,
    counted,
    energy_states,
    headline,
    overview,
    sentences,
    verdict_table,
    where,
)


def judged(
    value: float | None,
    error: float = 0.001,
    points: list[float] | None = None,
    title: str = "Thing",
    metric: str = "a_ratio",
    **limit: Any,
) -> Judgement:
    """Judge one number, known at three energies or over all alone."""
    numbers: Metrics = {"n_reference": 400, "n_candidate": 400, metric: value, f"{metric}_err": error}
    if points:
        numbers |= {key: metrics()[key] for key in ("energy_points", "energy_points_GeV")}
        numbers |= {f"{metric}_by_energy": points}
        numbers |= {f"{metric}_by_energy_err": [error] * 3}
    return judge(numbers, [Requirement(metric=metric, title=title, **(limit or {"within": 0.02}))])[0]


MET, UNKNOWN, UNMEASURED = judged(1.0), judged(1.021, 0.003), judged(None)
FAILED = judged(1.1, points=[1.1, 1.0, 1.0])
WORSE = judged(1.3, title="Worse", points=[1.0, 1.0, 1.5])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two candidates, of which the second has too few hits at 50 and 200 GeV."""
    return small_report(tmp_path_factory.mktemp("verdict"), metrics(), metrics(hits=0.9))


def said(report: Report, *verdict: Judgement, **numbers: Any) -> dict[str, tuple[str, ...]]:
    """Return what the report says of a verdict on its first candidate, by keyword."""
    changed = replace(
        report,
        verdicts=(verdict, *report.verdicts[1:]),
        metrics=(metrics() | numbers, *report.metrics[1:]),
    )
    return dict(sentences(changed, 0))


def test_all_three_states_are_counted() -> None:
    assert counted([MET]) == "0 failed, 0 undecided, 1 met, of 1 requirements"
    verdict = [MET, UNKNOWN, FAILED, UNMEASURED, WORSE]
    assert counted(verdict) == "2 failed, 2 undecided, 1 met, of 5 requirements"


def test_the_headline_names_the_worst_failure_and_where() -> None:
    assert headline([MET, UNKNOWN]) == "0 failed, 1 undecided, 1 met, of 2 requirements."
    text = headline([MET, FAILED, UNKNOWN, WORSE])
    assert text == (
        "2 failed, 1 undecided, 1 met, of 4 requirements. "
        "Worst: Worse, 400 GeV: 1.5000 ± 0.0010, limit within 2 %."
    )


@pytest.mark.parametrize(
    ("value", "points", "expected"),
    [
        (1.0, None, ""),
        (1.021, None, ""),
        (1.1, None, "all energies (1.1000 ± 0.0010)"),
        (1.0, [1.1, 1.0, 1.2], "400 GeV (1.2000 ± 0.0010), 50 GeV (1.1000 ± 0.0010)"),
    ],
)
def test_places_where_it_fails_are_named_the_worst_first(
    value: float, points: list[float] | None, expected: str
) -> None:
    assert where(judged(value, 0.001, points)) == expected


def test_a_long_list_of_failures_is_cut() -> None:
    numbers: Metrics = {f"layer_gain.{layer}": 1.1 + 0.01 * layer for layer in range(20)}
    numbers |= {f"{name}_err": 0.001 for name in numbers}
    gains = judge(numbers, [Requirement(metric="layer_gain.*", part="layer *", within=0.01)])[0]
    text = where(gains)
    assert text.startswith("layer 19, all energies (1.2900 ± 0.0010)")
    assert text.count("layer") == LISTED
    assert text.endswith(f"and {20 - LISTED} more")


def test_sentences_name_every_requirement_once(report: Report) -> None:
    found = said(report, MET, UNKNOWN, FAILED, WORSE)
    assert list(found) == ["In short", "Failed", "Undecided", "Met", "By energy"]
    worse, thing = found["Failed"]
    assert worse.startswith("Worse: 400 GeV (1.5000 ± 0.0010), all energies")
    assert thing.startswith("Thing: ")
    assert found["Undecided"][0] == "Thing"
    assert found["Met"] == ("Thing",)
    assert found["By energy"] == ("no failure at 200 GeV; most at 50 GeV (Thing).",)


@pytest.mark.parametrize(
    ("verdict", "numbers", "words"),
    [
        ([MET], {}, "3DGAN can stand in for Geant4 within these limits, at all energies compared."),
        ([MET, UNKNOWN], {}, "the undecided quantities need more showers."),
        ([UNMEASURED], {}, "not all is shown to be right"),
        ([MET, UNKNOWN, FAILED], {}, "only where the failed quantities do not matter."),
        ([UNKNOWN, FAILED], {}, "do not matter. It is not known whether the rest holds."),
        ([FAILED], {"mean_ratio.total_deposit": 0.0}, "cannot stand in for Geant4: none of its showers has a deposit"),
    ],
)  # fmt: skip
def test_what_is_undecided_is_not_praised(
    report: Report, verdict: list[Judgement], numbers: Metrics, words: str
) -> None:
    (text,) = said(report, *verdict, **numbers)["In short"]
    assert words in text
    assert ("can stand in" in text and "only" not in text) == (verdict == [MET])


def test_where_everything_fails_it_is_said(report: Report) -> None:
    everywhere = judged(1.1, points=[1.1, 1.1, 1.1])
    (text,) = said(report, everywhere, WORSE)["By energy"]
    assert text == "failures at every energy; most at 400 GeV (Thing, Worse)."
    assert "By energy" not in said(report, MET, judged(1.1))


def test_the_commands_ask_for_directions_places_and_particles_that_are_not_usual(report: Report) -> None:
    reference = report.samples[0]
    n = len(reference.conditions)
    along = np.linspace(-1, 1, n, dtype=np.float32)
    given = replace(
        reference.conditions,
        incident_theta=np.full(n, np.pi / 3, np.float32),
        incident_phi=(np.pi / 2 * along).astype(np.float32),
        impact_xy=np.stack([20 * along, np.full(n, 3, np.float32)], axis=1),
        pdg_id=np.where(along > 0, 22, 11).astype(np.int32),
    )
    assert beside_the_energy(replace(reference, conditions=given)) == (
        " --theta 60 --phi -90:90 --impact -20:20,3 --particle e-,gamma"
    )
    inside = replace(reference.conditions, impact_xy=np.stack([2.55 * along, -2.55 * along], axis=1))
    assert beside_the_energy(replace(reference, conditions=inside)) == ""


def test_the_showers_that_decide_come_with_their_commands(report: Report) -> None:
    """With the reference's own detector and energies, as many as the first undecided one needs."""
    far = judged(1.0, 0.02)
    lines = said(report, far, UNKNOWN, UNMEASURED)["Undecided"]
    assert (UNKNOWN.showers, far.showers) == (865, 1537)
    assert lines[0] == "Thing; Thing; Thing"
    assert lines[1].startswith(
        "870 showers of each file would decide the first of them, 1,600 all of them."
    )
    assert lines[2] == (
        "caloforge simulate --detector clic-ecal --events 870 --energy 50,200,400 --seed 2 -o more.h5"
    )
    assert lines[3].startswith("caloforge generate MODEL --like more.h5 ")
    assert lines[4].startswith("caloforge validate more.h5 ")
    assert said(report, UNMEASURED)["Undecided"] == ("Thing",)  # no number of showers would measure it


@given(n=st.integers(1, 10**9))
def test_never_fewer_showers_than_are_needed_are_asked_for(n: int) -> None:
    assert n <= _round_up(n) <= max(1.1 * n, n + 1)


@pytest.mark.parametrize(
    ("judgement", "text"),
    [
        (judged(1.05, 0.01), f"+3 % (3 {SIGMA})"),
        (judged(0.95, 0.0), "+3 %"),
        (judged(1.005), f"{MINUS}1.5 %"),
        (judged(0.7, 0.05, metric="auc.low", at_most=0.6), f"+0.1 (2 {SIGMA})"),
        (judged(0.4, metric="auc.low", at_most=0.6), f"{MINUS}0.2"),
        (judged(100, metric="n", at_least=300), f"+200 (200000 {SIGMA})"),
        (judged(None), ""),
    ],
)
def test_how_far_beyond_the_limit(judgement: Judgement, text: str) -> None:
    assert beyond(judgement.requirement, judgement.worst) == text


def test_the_table_says_where_and_how_far(report: Report) -> None:
    table = verdict_table(report, 1)
    titles = ["Requirement", "State", "Value", "Worst at", "Limit", "Beyond the limit by", "Checks"]
    assert [column.title for column in table.columns] == titles  # nothing is undecided
    first = table.rows[0]
    assert [cell.text for cell in first] == [
        "Hits",
        "failed",
        "0.9000 ± 0.0020",
        "all energies",
        "within 2 %",
        f"+8 % (40 {SIGMA})",
        "3 failed, 1 met",
    ]
    assert (first[1].mark, first[1].state) == ("✗", "failed")
    assert {row[1].text for row in table.rows[1:]} == {"met"}
    undecided = replace(report, verdicts=((MET, UNKNOWN, FAILED),) * 2)
    table = verdict_table(undecided, 0)
    assert [row[1].text for row in table.rows] == ["failed", "undecided", "met"]
    assert table.columns[-1].title == "Showers that decide"
    assert [row[-1].text != "" for row in table.rows] == [False, True, False]


def test_candidates_stand_side_by_side(report: Report) -> None:
    row = next(row for row in overview(report).rows if row[0].code == "adjusted_ratio.hits")
    assert [(cell.text, cell.state) for cell in row[1:3]] == [
        ("met: 1.0000 ± 0.0024", "met"),
        ("failed: 0.9000 ± 0.0020", "failed"),
    ]
    groups = key_metrics_table(report).groups
    assert [title for title, _ in groups] == ["", "3DGAN", "Other"]
    assert sum(span for _, span in groups) == len(key_metrics_table(report).columns)
    assert [title for title, _ in observable_table(report).groups] == ["", "3DGAN", "Other", ""]


def test_points_and_quartiles_of_energy_have_their_own_tables(report: Report) -> None:
    points, quartiles = energy_tables(report, 1)
    assert tuple(column.title for column in points.columns[1:]) == POINTS
    rows = {row[0].text: row[1:] for row in points.rows}
    assert all(len(cells) == len(POINTS) for cells in rows.values())
    assert [cell.state for cell in rows["Hits"]] == ["failed", "failed", "met"]
    assert [cell.text for cell in rows["Showers: Other"]] == ["20"] * 3
    assert [cell.text for cell in rows["Resolution, central 68 %: Geant4"]] == [
        "0.0300 ± 0.0010",
        "0.0200 ± 0.0010",
        "0.0100 ± 0.0010",
    ]
    assert [row[0].code for row in quartiles.rows] == ["auc.low"]
    assert [cell.state for cell in quartiles.rows[0][1:]] == ["met", "met"]


def test_the_states_at_single_energies_stand_in_one_table(report: Report) -> None:
    table = energy_states(report, 1)
    assert tuple(column.title for column in table.columns[1:]) == POINTS
    states = {row[0].text: [cell.state for cell in row[1:]] for row in table.rows}
    assert states["Hits"] == ["failed", "failed", "met"]
    assert states["Response"] == ["met"] * 3
    assert "Classifier on cells (AUC)" not in states  # known in quartiles


def test_each_file_has_its_fit_of_the_resolution(report: Report) -> None:
    table = resolution_table(report)
    assert [row[0].text for row in table.rows] == [
        f"{label}, {what}" for what in ("central 68 %", "Gaussian core") for label in report.labels
    ]
    assert [cell.text for cell in table.rows[0][1:]] == [
        "0.200 ± 0.010",
        "0.0100 ± 0.0020",
        "0.00 ± 0.10",
        "1.5 / 3 points",
    ]
    fits = {side: {"a": None} for side in ("reference", "candidate")}
    unknown = {"fit": fits, "fit_core": fits}
    without = replace(report, metrics=(metrics() | {"resolution": unknown},) * 2)
    assert resolution_table(without).rows == ()


def test_the_summary_is_short_and_its_tables_hold(report: Report, tmp_path: Path) -> None:
    text = build_summary(report)
    assert text.count("## 3DGAN against Geant4") == text.count("## Other against Geant4") == 1
    n = len(report.verdicts[0])
    assert f"**0 failed, 0 undecided, {n} met, of {n} requirements.**" in text
    assert (
        f"**1 failed, 0 undecided, {n - 1} met, of {n} requirements. Worst: Hits, all energies: " in text
    )
    assert "60 showers of file2.h5" in text
    assert "12 plots in report.html" in text
    hostile = build_summary(small_report(tmp_path, metrics(), metrics(0.9), labels=HOSTILE))
    for page in (text, hostile):
        assert len(page) < 15_000
        rows: list[int] = []
        for line in page.splitlines():
            columns = line.replace("\\|", "").count("|")
            if rows and columns:
                assert columns == rows[-1], line
            rows = [columns] if columns else []
    unescaped = re.sub(r"\\.|<br>|\*\*.* requirements.*\*\*", "", hostile)
    assert not re.search(r"[<>`*_]|@b", unescaped)
