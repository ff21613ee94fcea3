from __future__ import annotations

from typing import Any

import pytest

from studies.evolution.findings import Claim, Finding
from studies.evolution.summary import judge, summarise
from studies.evolution.table import as_markdown

CLAIM = Claim("a beats the others", ("a1", "a2"), ("b", "c"))


def runs(**values: list[float]) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "seed": seed, "numbers": {"rmse_GeV": value}}
        for arm, values in values.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"a1": [9, 9, 9], "a2": [5, 5.1, 4.9], "b": [10, 10.1, 9.9], "c": [20, 21, 22]}, "confirmed"),
        ({"a1": [9, 9, 9], "a2": [5, 5.1, 4.9], "b": [3, 3.1, 2.9], "c": [20, 21, 22]}, "contradicted"),
        ({"a1": [9, 9, 9], "a2": [5, 15, 25], "b": [10, 10.1, 9.9], "c": [9, 9.5, 9.2]}, "undecided"),
        ({"a1": [9, 9], "a2": [5, 5.1], "b": [10, 10.1], "c": [20, 21]}, "undecided"),
        ({"a1": [9, 9, 9], "a2": [9, 9, 9], "b": [9, 9, 9], "c": [9, 9, 9]}, "undecided"),
    ],
)
def test_a_claim_is_judged_by_the_best_of_both_sides(
    values: dict[str, list[float]], verdict: str
) -> None:
    found = judge(CLAIM, runs(**values))
    assert found["verdict"] == verdict
    assert found["ratio"] > 0


def test_seeds_are_compared_with_themselves() -> None:
    # Seeds differ by far more than the arms do.
    claim = Claim("", ("a",), ("b",))
    found = judge(claim, runs(a=[1, 10, 100], b=[1.1, 11.1, 110]))
    assert found["verdict"] == "confirmed"
    assert found["ratio"] == pytest.approx(1.1, rel=0.01)


def test_errors_are_read_at_equal_seconds() -> None:
    study = Finding("", {"fast": lambda _: {}, "slow": lambda _: {}}, columns=("at_equal_core_s",))
    both = [
        {
            "arm": arm,
            "seed": seed,
            "numbers": {"rmse_GeV": 1.0 + seed},
            "curve": {"core_s": [0, s, 2 * s, 3 * s], "error": [9.0, 5.0, 4.0, 3.0]},
        }
        for arm, s in (("fast", 1.0), ("slow", 2.0))
        for seed in (1, 2)
    ]
    table = {row["arm"]: row for row in summarise(study, both)["table"]}
    assert table["fast"]["at_equal_core_s"] == (3.0, 0.0)
    assert table["slow"]["at_equal_core_s"] == (5.0, 0.0)
    assert table["slow"]["rmse_GeV"] == (2.5, pytest.approx(0.5))


def test_a_result_is_written_as_a_table() -> None:
    result = {
        "question": "With or without?",
        "evaluations": 1000.0,
        "seeds": 3,
        "columns": ["rmse_GeV", "core_s"],
        "table": [{"arm": "a", "seeds": 3, "rmse_GeV": [1.25, 0.1]}],
        "claims": [judge(Claim("a wins", ("a",), ("b",)), runs(a=[1, 1, 1.01], b=[2, 2, 2.01]))],
    }
    text = as_markdown(result)
    assert text.startswith("With or without? 1,000 evaluations a run, 3 seeds.\n\n|  | RMSE, GeV |\n")
    assert "| a | 1.25 ± 0.10 |" in text
    assert "- a wins: **confirmed** (RMSE, GeV, b over a: 1.99" in text
