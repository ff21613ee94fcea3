"""Every study runs with a tiny budget, whatever its processes are and wherever they are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Caloforge

from studies.evolution.__main__ import StudyName
from studies.evolution.regression_arms import Files
from studies.evolution.studies import STUDIES
from studies.evolution.study_runs import Request, run_study

SECONDS = ("core_s", "grow_s", "at_equal_core_s", "s_per_child", "core_s_per_child", "worker")


def lasting(runs: list[dict[str, Any]]) -> list[tuple[str, int, dict[str, Any]]]:
    """What depends on the request alone."""
    return [
        (
            run["arm"],
            run["seed"],
            {name: value for name, value in run["figures"].items() if name not in SECONDS},
        )
        for run in runs
    ]


def test_the_command_knows_every_study() -> None:
    assert {name.value for name in StudyName} == set(STUDIES)


@pytest.mark.parametrize("name", list(STUDIES))
def test_each_study_gives_its_figures_and_verdicts(
    name: str, tmp_path: Path, shower_file: Path, caloforge: Caloforge
) -> None:
    output, figure = tmp_path / "results.json", tmp_path / "figure.png"
    budget = {"asynchronous": 60_000, "gan": 320}.get(name, 800)
    arguments = ("--data", shower_file, "--evaluations", budget, "--seeds", 2)
    ran = caloforge("evolve", name, *arguments, "-o", output, "--figure", figure)
    assert ran.code == 0, ran.err
    result = json.loads(output.read_text())
    study = STUDIES[name]
    assert [row["arm"] for row in result["table"]] == list(study.arms)
    for row in result["table"]:
        assert row["seeds"] == 2
        assert set(study.figures) <= set(row)
    assert [claim["claim"] for claim in result["claims"]] == [claim.text for claim in study.claims]
    for claim in result["claims"]:
        assert claim["verdict"] == "not decided"  # two seeds never decide
        assert claim["verdict"] in ran.out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "results.json.runs").exists()
    if name == "encoding":
        assert all(row["equal_bits"] == [1.0, 0.0] for row in result["table"])
        for run in result["runs"]:
            assert run["figures"]["chain_bytes"] < 200 + 11 * run["figures"]["genes"]


def test_a_killed_study_ends_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, shower_file: Path
) -> None:
    request = Request("updates", Files(shower_file, None), 4000, 3)
    undisturbed = run_study(request, tmp_path / "whole")
    output = tmp_path / "killed.json"
    line = [sys.executable, "-m", "caloforge", "evolve", "updates", "--data", str(shower_file)]
    line += ["--evaluations", "4000", "--seeds", "3", "-o", str(output)]
    killed = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed.json.runs"
    while len(list(folder.glob("0*.json"))) < 2:
        assert killed.poll() is None
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not output.exists()
    done = {path.name: path.read_text() for path in folder.glob("0*.json")}
    again = run_study(request, folder, workers=2)
    assert lasting(again) == lasting(undisturbed)
    assert folder.exists()  # the numbers have no other place yet
    # What was done is not done again: its seconds are those of the killed process.
    assert [json.loads(text)["figures"] for _, text in sorted(done.items())] == [
        again[int(name.removesuffix(".json"))]["figures"] for name in sorted(done)
    ]
