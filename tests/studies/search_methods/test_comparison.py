"""The comparison of methods: each spends the same, and what is drawn and told is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Caloforge

from caloforge.bench import Row
from studies.search_methods import comparison

ROWS: list[Row] = [
    {
        "method": method,
        "seed": seed,
        "core_seconds": at,
        "auc": best - 0.1 * (at == 2.0),
        "chosen_by_auc": 0.5,
        "model": "copula",
        "trials": 3 * at,
        "stopped": 1,
    }
    for method, bests in {"random": (0.8, 0.9, 1.0), "tpe": (0.7, 0.7, 0.7)}.items()
    for seed, best in enumerate(bests)
    for at in (1.0, 2.0)
]


@pytest.mark.long
def test_every_method_and_seed_has_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Caloforge
) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "result.json"
    ran = study("search_methods", "--seeds", 1, "--core-seconds", 0.1, "--each", 0.02, "-o", output)
    assert ran.code == 0, ran.err
    rows = json.loads(output.read_text())["rows"]
    assert {row["method"] for row in rows} == {"random", "tpe", "policy", "evolution"}
    assert len(rows) == 4 * comparison.POINTS
    for row in rows:
        assert row["seed"] == 1
        assert 0.4 < row["auc"] <= 1
        assert 0.4 < row["chosen_by_auc"] <= 1
        assert row["core_seconds"] <= 0.1
    assert "| evolution |" in ran.out
    assert not (tmp_path / "result.json.runs").exists()


def test_the_summary_has_means_and_errors_of_the_last_best() -> None:
    lines = comparison.summary(ROWS).splitlines()
    assert lines[2] == "| random | 0.800 ± 0.058 | 0.500 ± 0.000 | 6.0 | 1.0 |"
    assert lines[3] == "| tpe | 0.600 ± 0.000 | 0.500 ± 0.000 | 6.0 | 1.0 |"


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    comparison.draw(tmp_path / "figure.png", ROWS)
    image = (tmp_path / "figure.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert len(image) > 5000


def test_wrong_use_is_told_in_one_line(study: Caloforge, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "result.json"
    study("search_methods", "-o", nowhere).refused(2, "python -m studies.search_methods", "none")
