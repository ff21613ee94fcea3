"""The comparison of methods: each spends the same, and what is drawn and told is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from caloforge.bench import Row
from caloforge.report.plots.draw import picture
from studies.search_methods import comparison as search

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


@pytest.mark.slow
def test_every_method_and_seed_has_a_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path))
    monkeypatch.setattr(search, "SEEDS", 1)
    rows = search.measure(0.1, seed=4)
    assert {row["method"] for row in rows} == {"random", "tpe", "policy", "evolution"}
    assert len(rows) == 4 * search.POINTS
    for row in rows:
        assert row["seed"] == 4
        assert 0.4 < float(row["auc"]) <= 1
        assert 0.4 < float(row["chosen_by_auc"]) <= 1
        assert float(row["core_seconds"]) <= 0.1 / 4 + 1e-3


def test_the_summary_has_means_and_errors_of_the_last_best() -> None:
    lines = search.summary(ROWS).splitlines()
    assert lines[2] == "| random | 0.800 ± 0.058 | 0.500 ± 0.000 | 6.0 | 1.0 |"
    assert lines[3] == "| tpe | 0.600 ± 0.000 | 0.500 ± 0.000 | 6.0 | 1.0 |"


def test_the_curves_are_drawn() -> None:
    image = picture(lambda figure: search.draw(figure, ROWS), (6, 4))
    assert image.startswith(b"\x89PNG")
    assert len(image) > 5000
