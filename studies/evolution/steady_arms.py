"""Steady-state evolution as findings compare it: of a GAN, and with one and two processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studies.evolution.energy_problem import EnergyProblem
from studies.evolution.gan_evolution import GanProblem
from studies.evolution.genetic_algorithm import predict_all
from studies.evolution.processes import helped_by
from studies.evolution.projections import EnergyData, accuracy
from studies.evolution.regression_arms import Arm, RunSettings, ShowerFiles
from studies.evolution.steady_state import Population

__all__ = ["asynchronous", "gan"]


def asynchronous(processes: int) -> Arm:
    """Evolve networks for the energy's regression with so many processes, of one thread each, on one population.

    ``s_per_child`` is wall time while all of them were at work; ``core_s_per_child`` the processors' time, with the
    exchange of networks through the folder.
    """

    def run(settings: RunSettings) -> dict[str, Any]:
        problem = EnergyProblem(settings.data, settings.seed)
        children = max(1, round(settings.evaluations / problem.evaluations))
        shared, notes = Population(problem, settings.folder, children), dict[int, Any]()
        files = replace(settings.files)  # without what was read
        helpers = helped_by(processes - 1, _help, files, settings.seed, settings.folder, children)
        with one_thread(), helpers:
            for notes in shared.grow():
                settings.progress(len(notes), children)
        network = problem.read(shared.members[0])
        shared.finish()
        quoted = accuracy(predict_all([network], problem.data.test)[0], problem.data.test.energy_B)
        return {
            "numbers": {
                "rmse_GeV": quoted.rmse_GeV,
                "resolution": quoted.resolution,
                "children": children,
                **throughput(list(notes.values())),
            }
        }

    return run


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, as the helpers do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _help(files: ShowerFiles, seed: int, folder: Path, children: int) -> None:
    problem = EnergyProblem(EnergyData.of(*files.read(), seed), seed)
    for _ in Population(problem, folder, children).grow():
        pass


def throughput(notes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Tell how fast children came while every worker was at work: after its first child, before its last."""
    workers: dict[int, list[Mapping[str, Any]]] = {}
    for note in sorted(notes, key=lambda note: float(note["ended_s"])):
        workers.setdefault(note["worker"], []).append(note)
    first = max(mine[0]["ended_s"] for mine in workers.values())
    last = min(mine[-1]["ended_s"] for mine in workers.values())
    between = sum(first < note["ended_s"] <= last for note in notes)
    if not between:  # too few children: all of them, with what it takes to begin
        first, last = min(note["began_s"] for note in notes), max(note["ended_s"] for note in notes)
        between = len(notes)
    steps = sum(len(mine) - 1 for mine in workers.values())
    spent = sum(mine[-1]["core_s"] - mine[0]["core_s"] for mine in workers.values())
    return {
        "workers": len(workers),
        "s_per_child": (last - first) / between,
        "core_s_per_child": spent / max(steps, 1),
    }


def gan(parents: int) -> Arm:
    """Evolve a GAN, or with no ``parents`` train it alone; a budget's evaluations are showers trained on."""

    def run(settings: RunSettings) -> dict[str, Any]:
        problem = GanProblem(settings.files.data, settings.seed, parents)
        showers = problem.steps * problem.batch
        children = max(1, round(settings.evaluations / showers))
        generators, notes = Population(problem, settings.folder, children), dict[int, Any]()
        for notes in generators.grow():
            settings.progress(len(notes), children)
        best = min(generators.members, key=lambda member: float(member.note["fitness"]))
        numbers = problem.judge(best, settings.files.test)
        generators.finish()
        curve = [notes[number] for number in sorted(notes)]
        return {
            "numbers": {
                **numbers,
                "core_s": sum(note["core_s"] for note in curve),
                "learning_rate": best.note["learning_rate"],
            },
            "curve_of": "Fitness on the validation part",
            "curve": {
                "evaluations": [showers * (n + 1) for n in range(children)],
                "core_s": np.cumsum([note["core_s"] for note in curve]).tolist(),
                "error": np.minimum.accumulate([note["fitness"] for note in curve]).tolist(),
            },
        }

    return run
