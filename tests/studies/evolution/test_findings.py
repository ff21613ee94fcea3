"""Every finding can be repeated with a tiny budget, and a killed command goes on where it was."""

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

from studies.evolution.__main__ import EXAMPLES, FindingName
from studies.evolution.findings import FINDINGS
from studies.evolution.regression_arms import ShowerFiles
from studies.evolution.runs import Request, remove_runs, run_finding

SECONDS = ("core_s", "grow_s", "at_equal_core_s", "s_per_child", "core_s_per_child", "worker")


def lasting(runs: list[dict[str, Any]]) -> list[tuple[str, int, dict[str, Any]]]:
    """What depends on the request alone."""
    return [
        (
            run["arm"],
            run["seed"],
            {name: value for name, value in run["numbers"].items() if name not in SECONDS},
        )
        for run in runs
    ]


def test_the_command_knows_every_finding(study: Caloforge) -> None:
    assert {name.value for name in FindingName} == set(FINDINGS)
    shown = " ".join(study("evolution", "--help").out.split())
    assert "python -m studies.evolution" in shown
    assert all(example.partition("-m ")[2].split()[1] in shown for example in EXAMPLES)


@pytest.mark.parametrize("name", list(FINDINGS))
def test_each_finding_has_its_numbers_and_verdicts(
    name: str, tmp_path: Path, shower_file: Path, study: Caloforge
) -> None:
    output, figure = tmp_path / "results.json", tmp_path / "figure.png"
    budget = {"asynchronous": 20_000, "gan": 160}.get(name, 200)
    arguments = ("--data", shower_file, "--evaluations", budget, "--seeds", 2)
    ran = study("evolution", name, *arguments, "-o", output, "--figure", figure)
    assert ran.code == 0, ran.err
    result = json.loads(output.read_text())
    finding = FINDINGS[name]
    assert result["finding"] == name
    assert result["command"].startswith(f"python -m studies.evolution {name} --data")
    assert {"date", "machine", "versions", "evaluations", "seeds", "question"} <= set(result)
    assert [row["arm"] for row in result["table"]] == list(finding.arms)
    for row in result["table"]:
        assert row["seeds"] == 2
        assert set(finding.columns) <= set(row)
    assert [claim["claim"] for claim in result["claims"]] == [claim.text for claim in finding.claims]
    for claim in result["claims"]:
        assert claim["verdict"] == "undecided"  # two seeds never decide
        assert f"{claim['claim']}: **undecided**" in ran.out
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "results.json.runs").exists()
    if name == "encoding":
        assert all(row["equal_bits"] == [1.0, 0.0] for row in result["table"])
        for run in result["runs"]:
            assert run["numbers"]["chain_bytes"] < 200 + 11 * run["numbers"]["genes"]


RESULTS = Path(__file__).parents[3] / "studies" / "evolution" / "results"


@pytest.mark.parametrize("name", [path.stem for path in RESULTS.glob("*.json")])
def test_a_committed_result_is_one_of_this_command(name: str) -> None:
    result = json.loads((RESULTS / f"{name}.json").read_text())
    finding = FINDINGS[name]
    assert result["finding"] == name
    assert result["command"].startswith(f"python -m studies.evolution {name} ")
    assert result["question"] == finding.question
    assert [row["arm"] for row in result["table"]] == list(finding.arms)
    assert len(result["runs"]) == len(finding.arms) * result["seeds"]
    for claim in result["claims"]:
        assert claim["verdict"] in ("confirmed", "contradicted", "undecided")
    assert (RESULTS.parent / "figures" / f"{name}.png").stat().st_size < 80_000


@pytest.mark.process
def test_a_killed_command_ends_with_the_numbers_of_an_undisturbed_one(
    tmp_path: Path, shower_file: Path
) -> None:
    request = Request("updates", ShowerFiles(shower_file, None), 4000, 3)
    undisturbed = run_finding(request, tmp_path / "whole")
    output = tmp_path / "killed.json"
    line = [sys.executable, "-m", "studies.evolution", "updates", "--data", str(shower_file)]
    line += ["--evaluations", "4000", "--seeds", "3", "-o", str(output)]
    killed = subprocess.Popen(line, stderr=subprocess.DEVNULL, cwd=RESULTS.parents[2])
    folder = tmp_path / "killed.json.runs"
    while len(list(folder.glob("0*.json"))) < 2:
        assert killed.poll() is None
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not output.exists()
    done = {path.name: path.read_text() for path in folder.glob("0*.json")}
    again = run_finding(request, folder, workers=2)
    assert lasting(again) == lasting(undisturbed)
    # What was done is not done again: its seconds are those of the killed process.
    assert [json.loads(text)["numbers"] for _, text in sorted(done.items())] == [
        again[int(name.removesuffix(".json"))]["numbers"] for name in sorted(done)
    ]
    letter = folder / "letter.txt"
    letter.write_text("mine")
    remove_runs(request, folder)
    assert list(folder.iterdir()) == [letter]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("", 2, "Missing argument"),
        ("luck", 2, "'luck'"),
        ("bias --data none.h5 -o out.json", 2, "none.h5: no such file"),
        ("bias --data few.h5 -o out.json", 1, "few.h5: expected at least 20 showers, found"),
        ("bias --evaluations 10", 2, "--evaluations"),
        ("bias --data few.h5 -o few.h5", 2, "few.h5: the output would replace an input"),
        ("bias --figure none/out.png", 2, "none/out.png: the folder none does not exist"),
        ("asynchronous --workers 2", 2, "--workers: asynchronous measures processes and starts its own"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_leaves_no_file(
    arguments: str,
    code: int,
    words: str,
    few_showers: Path,
    study: Caloforge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(few_showers.parent)
    before = sorted(few_showers.parent.iterdir())
    study("evolution", *arguments.split()).refused(code, "python -m studies.evolution", words)
    assert sorted(few_showers.parent.iterdir()) == before
