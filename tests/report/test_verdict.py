"""The verdict in words: what fails, where, by how much, and whether there are showers enough to tell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from report_samples import HOSTILE, metrics, small_report

from caloforge.comparison.differences import Metrics
from caloforge.comparison.requirements import Judgement, Requirement, judge
from caloforge.report.page.content import Report
from caloforge.report.page.numbers import energy_tables, key_metrics_table, observable_table
from caloforge.report.page.summary import build_summary
from caloforge.report.page.verdict import (
    MINUS,
    SIGMA,
    beyond,
    counted,
    overview,
    sentences,
    too_few,
    verdict_table,
    where,
)

BINS = ["10 to 100 GeV", "100 to 300 GeV", "300 to 500 GeV"]


def judged(
    value: float | None, error: float = 0.001, bins: list[float] | None = None, **limit: Any
) -> Judgement:
    """Judge one number, known in three bins of energy or in none."""
    numbers: Metrics = {"r": value, "r_err": error, "energy_bins": BINS}
    if bins:
        numbers |= {"r_by_energy": bins, "r_by_energy_err": [error] * 3}
    requirement = Requirement(metric="r", title="Thing", **(limit or {"within": 0.02}))
    return judge(numbers, [requirement])[0]


def test_what_is_met_is_counted() -> None:
    good, narrow, bad, unknown = judged(1.0), judged(1.021), judged(1.1), judged(None)
    assert counted([good]) == "All 1 requirements are met."
    assert counted([good, bad, unknown]) == "1 of 3 requirements are met."
    assert counted([good, narrow, bad]) == "2 of 3 requirements are met, 1 of them only within errors."


@pytest.mark.parametrize(
    ("value", "bins", "expected"),
    [
        (1.1, None, ""),
        (1.1, [1.1, 1.2, 1.3], "every energy"),
        (1.0, [1.1, 1.0, 1.0], "10 to 100 GeV"),
        (1.1, [1.1, 1.2, 1.0], "10 to 300 GeV"),
        (1.1, [1.1, 1.0, 1.3], "10 to 100 GeV, 300 to 500 GeV"),
        (1.1, [1.0, 1.0, 1.0], "all energies together"),
    ],
)
def test_energies_in_which_it_fails_are_named(
    value: float, bins: list[float] | None, expected: str
) -> None:
    assert where(judged(value, bins=bins)) == expected


def test_sentences_name_every_requirement_once() -> None:
    verdict = [judged(1.0), judged(1.021), judged(1.1, bins=[1.1, 1.0, 1.0]), judged(None)]
    found = dict(sentences(verdict, {}, "B", "A"))
    assert found["Not met"] == ("Thing: 10 to 100 GeV",)
    assert found["Not measured"] == found["Met"] == found["Within errors"] == ("Thing",)
    assert found["By energy"] == ("Thing: no failure at 100 to 500 GeV.",)
    assert "only where" in found["In short"][0]
    assert (
        "can stand in for A within these limits"
        in dict(sentences(verdict[:2], {}, "B", "A"))["In short"][0]
    )
    assert "the rest is unknown" in dict(sentences(verdict[3:], {}, "B", "A"))["In short"][0]


@pytest.mark.parametrize(
    ("values", "numbers", "words"),
    [
        (
            (0.0, None),
            {"mean_ratio.total_deposit": 0.0},
            "B cannot stand in for A: none of its showers has a deposit",
        ),
        ((0.0, None), {}, "B cannot stand in for A: nothing that was measured is within the limits."),
        (
            (0.0, 1.0, None),
            {},
            "; what else was measured is within the limits, and some was not measured.",
        ),
        ((0.0, 1.0), {}, "; what else was measured is within the limits."),
    ],
)
def test_what_was_not_measured_is_not_praised(
    values: tuple[float | None, ...], numbers: Metrics, words: str
) -> None:
    verdict = [judged(value) for value in values]
    assert words in dict(sentences(verdict, numbers, "B", "A"))["In short"][0]


def test_where_everything_fails_the_best_energy_is_named() -> None:
    verdict = [judged(1.1, bins=[1.1, 1.1, 1.1]), judged(1.1, bins=[1.1, 1.0, 1.1])]
    text = dict(sentences(verdict, {}, "B", "A"))["By energy"][0]
    assert text == "Thing, Thing: failures at every energy, fewest at 100 to 300 GeV (Thing)."


@pytest.mark.parametrize(
    ("judgement", "text"),
    [
        (judged(1.05, 0.01), f"+3 % (3 {SIGMA})"),
        (judged(0.95, 0.0), "+3 %"),
        (judged(1.005), f"{MINUS}1.5 %"),
        (judged(0.7, 0.05, at_most=0.6), f"+0.1 (2 {SIGMA})"),
        (judged(0.4, at_most=0.6), f"{MINUS}0.2"),
        (judged(100, at_least=300), f"+200 (200000 {SIGMA})"),
        (judged(None), ""),
    ],
)
def test_how_far_beyond_the_limit(judgement: Judgement, text: str) -> None:
    assert beyond(judgement.requirement, judgement.overall) == text


@pytest.mark.parametrize(
    ("judgement", "floor", "expected"),
    [
        (judged(1.0, 0.009), None, False),
        (judged(1.0, 0.011), None, True),
        (judged(1.03, 0.02), None, True),  # within errors, and these are wide
        (judged(1.2, 0.011), None, False),  # shown to fail
        (judged(0.01, 0.03, at_most=0.05), None, True),
        (judged(0.01, 0.001, at_most=0.05), 0.06, True),  # halves of the reference differ by more
        (judged(0.01, 0.001, at_most=0.05), 0.04, False),
        (judged(400, 0, at_least=300), None, False),
        (judged(None), None, False),
    ],
)
def test_too_few_showers_are_said(judgement: Judgement, floor: float | None, expected: bool) -> None:
    assert too_few(judgement, judgement.overall, {"r_floor": floor}) == expected
    text = dict(sentences([judgement], {"r_floor": floor}, "B", "A"))
    assert ("Too few showers" in text) == expected


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Two candidates, of which the second has too few hits below 300 GeV."""
    return small_report(tmp_path_factory.mktemp("verdict"), metrics(), metrics(hits=0.9))


def test_the_table_says_where_and_how_far(report: Report) -> None:
    table = verdict_table(report, 1)
    titles = [column.title for column in table.columns]
    assert titles == [
        "Requirement",
        "Limit",
        "Value, all energies",
        "Beyond the limit by",
        "Status",
        "Fails in",
    ]
    cells = next(row for row in table.rows if row[0].text == "Hits")
    assert [cell.text for cell in cells[1:5]] == [
        "within 2 %",
        "0.9000 ± 0.0020",
        f"+8 % (40 {SIGMA})",
        "not met",
    ]
    assert cells[4].mark == "✗"
    assert cells[5].lines == tuple(f"{where}: 0.9000 ± 0.0030, +8 % (27 {SIGMA})" for where in BINS[:2])
    assert [column.title for column in verdict_table(report, 0).columns] == titles[:-1]  # nothing fails


def test_candidates_stand_side_by_side(report: Report) -> None:
    row = next(row for row in overview(report).rows if row[0].code == "adjusted_ratio.hits")
    assert [(cell.text, cell.status) for cell in row[2:]] == [
        ("1.0000 ± 0.0020", "met"),
        ("0.9000 ± 0.0020", "not met"),
    ]
    groups = key_metrics_table(report).groups
    assert [title for title, _ in groups] == ["", "3DGAN", "Other"]
    assert sum(span for _, span in groups) == len(key_metrics_table(report).columns)
    assert [title for title, _ in observable_table(report).groups] == ["", "3DGAN", "Other", ""]


def test_energies_have_their_own_tables(report: Report) -> None:
    bins, quartiles = energy_tables(report, 1)
    assert [column.title for column in bins.columns[1:]] == BINS
    hits = next(row for row in bins.rows if row[0].code == "adjusted_ratio.hits")
    assert [cell.status for cell in hits[1:]] == ["not met", "not met", "met"]
    assert [row[0].code for row in quartiles.rows] == ["auc.low"]
    assert [cell.status for cell in quartiles.rows[0][1:]] == ["met", "met"]


def test_the_summary_is_short_and_its_tables_hold(report: Report, tmp_path: Path) -> None:
    text = build_summary(report)
    assert text.count("## 3DGAN against Geant4") == text.count("## Other against Geant4") == 1
    assert "of 14 requirements are met" in text or "requirements are met" in text
    assert "40 showers of file2.h5" in text
    assert "12 plots in report.html" in text
    hostile = build_summary(small_report(tmp_path, metrics(), metrics(0.9), labels=HOSTILE))
    for page in (text, hostile):
        assert len(page) < 12_000
        rows: list[int] = []
        for line in page.splitlines():
            columns = line.replace("\\|", "").count("|")
            if rows and columns:
                assert columns == rows[-1], line
            rows = [columns] if columns else []
    unescaped = re.sub(r"\\.|<br>|\*\*.* requirements are met.*\*\*", "", hostile)
    assert not re.search(r"[<>`*_]|@b", unescaped)
