"""Time to accuracy: what counts as reached, what it costs on nodes, and the command at its smallest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caloforge.foundations.errors import UsageError
from studies.scaling import time_to_accuracy
from studies.scaling.accuracy_minutes import minutes_rows, predicted_step_s, talks_pace, talks_showers
from studies.scaling.accuracy_runs import Run, outcome
from studies.scaling.clusters import CLUSTERS

STEPS = {
    "3dgan": [
        {"base_s": 0.02, "shower_s": 0.01, "bytes": 3e5},
        {"base_s": 0.05, "shower_s": 0.02, "bytes": 3.5e6},
    ],
    "copula": [{"base_s": 0.01, "shower_s": 0.002, "bytes": 1e6}],
}


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    pass


def ran(*scores: float, ended: str = "budget") -> dict[str, Any]:
    checks = [{"showers": 100 * (n + 1), "step": n + 1, "score": s} for n, s in enumerate(scores)]
    return {"model": "copula", "rule": "root", "batch": 32, "ended": ended, "checks": checks}


def test_a_quality_is_reached_at_the_first_of_two_good_checks() -> None:
    assert outcome(ran(0.9, 0.4, 0.6, 0.5, 0.3), 0.5) == ("reached", 400)
    assert outcome(ran(0.9, 0.4, 0.6, 0.4), 0.5) == ("undecided", 400)
    assert outcome(ran(0.9, 0.4, 0.6), 0.5) == ("not reached", 300)
    assert outcome(ran(0.9, 1e9, 1e9, ended="diverged"), 0.5) == ("diverged", 300)


def test_showers_needed_are_a_median_only_where_every_seed_reached_the_quality() -> None:
    good, later, bad = ran(0.4, 0.4), ran(0.9, 0.4, 0.4), ran(0.9)
    (row,) = time_to_accuracy.needed_rows([good, later], {"copula": 0.5})
    assert row["showers"] == 150
    (row,) = time_to_accuracy.needed_rows([good, bad], {"copula": 0.5})
    assert row["showers"] is None
    assert row["ended"] == "not reached, reached"


def test_a_step_on_the_talks_nodes_takes_the_talks_time() -> None:
    xeon = CLUSTERS["xeon"]
    pace = talks_pace(STEPS["3dgan"])
    alone = predicted_step_s(STEPS["3dgan"], pace, 8 * xeon.workers_per_node, 1)
    assert alone is not None
    assert xeon.step_s < alone < 1.05 * xeon.step_s  # waiting and sums come on top
    assert predicted_step_s(STEPS["3dgan"], pace, 3, 1) is None


def test_minutes_fall_with_the_nodes_as_long_as_each_worker_has_a_shower() -> None:
    needed = [{"model": "copula", "rule": "root", "batch": 128, "showers": 12_800}]
    rows = minutes_rows([*needed, {**needed[0], "batch": 512, "showers": None}], STEPS)
    assert [row["nodes"] for row in rows] == [1, 2, 4, 8, 16, 32]
    minutes = [row["minutes"] for row in rows]
    assert minutes == sorted(minutes, reverse=True)
    assert minutes[0] == pytest.approx(100 * rows[0]["step_s"] / 60, rel=1e-3)


def test_the_talks_minutes_hold_about_its_25_epochs() -> None:
    assert 20 < talks_showers(STEPS["3dgan"]) / 180_000 < 30


def test_large_batches_are_shared_by_16_workers() -> None:
    assert [Run("3dgan", batch, "root", 1).workers for batch in (8, 32, 128, 2048)] == [1, 4, 16, 16]


@pytest.mark.training
def test_the_smallest_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_to_accuracy, "time_steps", STEPS.__getitem__)
    result, figure = tmp_path / "result.json", tmp_path / "figure.png"
    chosen: dict[str, Any] = {"batch": [8, 32], "rule": ["root", "linear"], "core_seconds": 1}
    time_to_accuracy.run(result, model=["copula"], figure=figure, **chosen)
    first = json.loads(result.read_text())
    assert [(run["batch"], run["rule"]) for run in first["runs"]] == [
        (8, "linear"),
        (32, "root"),
        (32, "linear"),
    ]
    for run in first["runs"]:
        assert run["ended"] in ("budget", "reached")
        assert all(0 < check["score"] < 2 for check in run["checks"])
    assert first["runs"][0]["checks"][0]["showers"] <= 256
    assert first["showers"] > 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    time_to_accuracy.run(result, model=["copula"], **chosen)  # what is there is kept
    assert json.loads(result.read_text())["runs"] == first["runs"]


def test_an_unknown_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="9: expected one of 8, 32"):
        time_to_accuracy.run(tmp_path / "a.json", batch=[9])
