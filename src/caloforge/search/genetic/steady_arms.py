"""Steady-state evolution as studies compare it: of a GAN, and with one and two processes."""

from __future__ import annotations

from typing import Any

import numpy as np

from caloforge.search.genetic.gan_evolution import GanProblem
from caloforge.search.genetic.regression_arms import Arm, Setting
from caloforge.search.genetic.steady_state import advance, living

__all__ = ["gan"]


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
