"""Steady-state evolution as studies compare it: of a GAN, and with one and two processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from studies.evolution.energy_problem import EnergyProblem
from studies.evolution.evolution import answers
from studies.evolution.gan_evolution import GanProblem
from studies.evolution.processes import helped_by
from studies.evolution.projections import Task, accuracy
from studies.evolution.regression_arms import Arm, Files, Setting
from studies.evolution.steady_state import advance, living

__all__ = ["asynchronous", "gan"]


def asynchronous(processes: int) -> Arm:
    """Evolve networks for the energy's regression with so many processes on one population.

    ``s_per_child`` is wall time while all of them were at work; ``core_s_per_child`` the processors' time, with the
    exchange of networks through the folder.
    """

    def run(setting: Setting) -> dict[str, Any]:
        problem = EnergyProblem(setting.task, setting.seed)
        children = max(1, round(setting.evaluations / problem.evaluations))
        notes: dict[int, Any] = {}
        files = replace(setting.files)  # without what was read
        with helped_by(processes - 1, _help, files, setting.seed, setting.folder, children):
            for notes in advance(problem, setting.folder, children):
                setting.progress(len(notes), children)
        best, *_ = living(problem, setting.folder, notes)
        network = problem.read(best)
        quoted = accuracy(answers([network], problem.task.test)[0], problem.task.test.energy_B)
        return {
            "figures": {
                "rmse_GeV": quoted.rmse_GeV,
                "resolution": quoted.resolution,
                "children": children,
                **throughput(list(notes.values())),
            }
        }

    return run


def _help(files: Files, seed: int, folder: Path, children: int) -> None:
    problem = EnergyProblem(Task.of(*files.read(), seed), seed)
    for _ in advance(problem, folder, children):
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

    def run(setting: Setting) -> dict[str, Any]:
        problem = GanProblem(setting.files.data, setting.seed, parents)
        showers = problem.steps * problem.batch
        children = max(1, round(setting.evaluations / showers))
        notes: dict[int, Any] = {}
        for notes in advance(problem, setting.folder, children):
            setting.progress(len(notes), children)
        best = min(
            living(problem, setting.folder, notes), key=lambda member: float(member.note["fitness"])
        )
        course = [notes[number] for number in sorted(notes)]
        return {
            "figures": {
                **problem.judge(best, setting.files.test),
                "core_s": sum(note["core_s"] for note in course),
                "learning_rate": best.note["learning_rate"],
            },
            "course_of": "Fitness on the validation part",
            "course": {
                "evaluations": [showers * (n + 1) for n in range(children)],
                "core_s": np.cumsum([note["core_s"] for note in course]).tolist(),
                "error": np.minimum.accumulate([note["fitness"] for note in course]).tolist(),
            },
        }

    return run
