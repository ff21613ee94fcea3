"""Steady-state evolution repeats with one process, shares its population with several, and survives SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import PATIENCE_S, wait_until

from studies.evolution.energy_problem import EnergyProblem
from studies.evolution.projections import EnergyData
from studies.evolution.steady_arms import throughput
from studies.evolution.steady_state import Population

CHILDREN = 30
WORKER = """
import sys
from pathlib import Path
from studies.evolution.energy_problem import EnergyProblem
from studies.evolution.projections import EnergyData, project
from studies.evolution.steady_state import Population

data, folder, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
problem = EnergyProblem(EnergyData.of(project(data), None, 1), 1, steps)
for notes in Population(problem, folder, %d).grow():
    pass
"""


def start(data: Path, folder: Path, steps: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WORKER % CHILDREN, str(data), str(folder), str(steps)]
    return subprocess.Popen(arguments)


def last(problem: EnergyProblem, folder: Path) -> dict[int, Any]:
    *_, notes = Population(problem, folder, CHILDREN).grow()
    return notes


def lasting(notes: Mapping[int, Any]) -> list[tuple[Any, ...]]:
    """What depends on the seed alone."""
    return [tuple(notes[n][key] for key in ("fitness", "rate", "hidden")) for n in sorted(notes)]


def wait_for(folder: Path, count: int) -> None:
    wait_until(lambda: len(list(folder.glob("0*.json"))) >= count)


@pytest.mark.process
def test_a_killed_process_goes_on_as_if_nothing_had_been(
    tmp_path: Path, shower_file: Path, energy_data: EnergyData
) -> None:
    steps = 20
    problem = EnergyProblem(energy_data, 1, steps)
    undisturbed = last(problem, tmp_path / "whole")
    killed = start(shower_file, tmp_path / "killed", steps)
    wait_for(tmp_path / "killed", 7)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    done = len(list((tmp_path / "killed").glob("0*.json")))
    notes = last(problem, tmp_path / "killed")
    assert lasting(notes) == lasting(undisturbed)
    by_killed = [n for n in notes if notes[n]["worker"] == killed.pid]
    assert by_killed == list(range(done))
    for one, other in zip(
        Population(problem, tmp_path / "whole", CHILDREN).members,
        Population(problem, tmp_path / "killed", CHILDREN).members,
        strict=True,
    ):
        assert one.number == other.number
        assert problem.read(one).weights_W.tobytes() == problem.read(other).weights_W.tobytes()


@pytest.mark.process
def test_two_processes_share_a_population_and_one_of_them_may_die(
    tmp_path: Path, shower_file: Path, energy_data: EnergyData
) -> None:
    folder, steps = tmp_path / "shared", 40
    doomed, other = (start(shower_file, folder, steps) for _ in range(2))
    wait_for(folder, 5)
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.wait()
    assert other.wait(PATIENCE_S) == 0
    problem = EnergyProblem(energy_data, 1, steps)
    notes = last(problem, folder)
    assert sorted(notes) == list(range(CHILDREN))
    shared = Population(problem, folder, CHILDREN)
    best = shared.members
    assert [member.note["fitness"] for member in best] == sorted(
        note["fitness"] for note in notes.values()
    )[: len(best)]
    kept = {int(path.stem) for path in folder.glob("*.safetensors")}
    assert kept == {member.number for member in best}
    assert min(note["fitness"] for note in notes.values()) < notes[0]["fitness"]
    shared.finish()
    assert not folder.exists()


def test_throughput_counts_while_all_are_at_work() -> None:
    def note(worker: int, began: float, ended: float) -> dict[str, Any]:
        return {"worker": worker, "began_s": began, "ended_s": ended, "core_s": ended / 2}

    alone = [note(1, n, n + 1) for n in range(5)]
    assert throughput(alone) == pytest.approx({"workers": 1, "s_per_child": 1, "core_s_per_child": 0.5})
    # A second worker joins late; its first child does not count, nor what comes after the other's last.
    joined = [*alone, note(2, 1.5, 2.5), note(2, 2.5, 3.5), note(2, 3.5, 4.5), note(2, 8, 9)]
    assert throughput(joined)["s_per_child"] == pytest.approx((5 - 2.5) / 5)
    assert throughput([note(1, 0, 1), note(2, 2, 4)])["s_per_child"] == 2
