from __future__ import annotations

from typing import Any

import pytest

from studies.evolution.studies import Claim, Study
from studies.evolution.study_summary import judge, summarise
from studies.evolution.study_table import fill, rounded

CLAIM = Claim("a beats the others", ("a1", "a2"), ("b", "c"))


def runs(**figures: list[float]) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "seed": seed, "figures": {"rmse_GeV": value}}
        for arm, values in figures.items()
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"a1": [9, 9, 9], "a2": [5, 5.1, 4.9], "b": [10, 10.1, 9.9], "c": [20, 21, 22]}, "confirmed"),
        ({"a1": [9, 9, 9], "a2": [5, 5.1, 4.9], "b": [3, 3.1, 2.9], "c": [20, 21, 22]}, "contradicted"),
        ({"a1": [9, 9, 9], "a2": [5, 15, 25], "b": [10, 10.1, 9.9], "c": [9, 9.5, 9.2]}, "not decided"),
        ({"a1": [9, 9], "a2": [5, 5.1], "b": [10, 10.1], "c": [20, 21]}, "not decided"),
        ({"a1": [9, 9, 9], "a2": [9, 9, 9], "b": [9, 9, 9], "c": [9, 9, 9]}, "not decided"),
    ],
)
def test_a_claim_is_judged_by_the_best_of_both_sides(
    figures: dict[str, list[float]], verdict: str
) -> None:
    found = judge(CLAIM, runs(**figures))
    assert found["verdict"] == verdict
    assert found["ratio"] > 0


def test_seeds_are_compared_with_themselves() -> None:
    # Seeds differ by far more than the arms do.
    claim = Claim("", ("a",), ("b",))
    found = judge(claim, runs(a=[1, 10, 100], b=[1.1, 11.1, 110]))
    assert found["verdict"] == "confirmed"
    assert found["ratio"] == pytest.approx(1.1, rel=0.01)


def test_errors_are_read_at_equal_seconds() -> None:
    study = Study("", {"fast": lambda _: {}, "slow": lambda _: {}}, figures=("at_equal_core_s",))
    both = [
        {
            "arm": arm,
            "seed": seed,
            "figures": {"rmse_GeV": 1.0 + seed},
            "course": {"core_s": [0, s, 2 * s, 3 * s], "error": [9.0, 5.0, 4.0, 3.0]},
        }
        for arm, s in (("fast", 1.0), ("slow", 2.0))
        for seed in (1, 2)
    ]
    table = {row["arm"]: row for row in summarise(study, both)["table"]}
    assert table["fast"]["at_equal_core_s"] == (3.0, 0.0)
    assert table["slow"]["at_equal_core_s"] == (5.0, 0.0)
    assert table["slow"]["rmse_GeV"] == (2.5, pytest.approx(0.5))


def test_numbers_are_written_to_two_digits_of_their_error() -> None:
    assert rounded(12.3456, 0.0234) == "12.346 ± 0.023"
    assert rounded(1234.5, 87.6) == "1234 ± 88"
    assert rounded(3.14159, None) == rounded(3.14159, 0.0) == "3.142"


def test_a_document_is_filled_with_what_a_result_says() -> None:
    result = {
        "study": "bias",
        "question": "With or without?",
        "evaluations": 1000.0,
        "seeds": 3,
        "data": "/somewhere/train.h5",
        "test": None,
        "date": "2026-11-27",
        "machine": {"cpu": "Xeon", "cores": 2},
        "figures": ["rmse_GeV", "core_s"],
        "table": [{"arm": "a", "seeds": 3, "rmse_GeV": [1.25, 0.1]}],
        "claims": [judge(Claim("a wins", ("a",), ("b",)), runs(a=[1, 1, 1.01], b=[2, 2, 2.01]))],
    }
    text = fill("before <!-- bias --><!-- end --> <!-- other --><!-- end -->", result)
    assert fill(text, result) == text
    assert text.startswith("before <!-- bias -->")
    assert text.endswith("<!-- end --> <!-- other --><!-- end -->")
    assert "$ caloforge evolve bias --data train.h5 --evaluations 1000 --seeds 3 -o bias.json" in text
    assert "| a | 1.25 ± 0.10 |" in text
    assert "- a wins: **confirmed** (RMSE, GeV, b over a: 1.99" in text
