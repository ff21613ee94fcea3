"""Ways to train a regression of the primary energy, as studies compare them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from caloforge.foundations.progress import Progress, silent
from studies.evolution.baselines import search_architectures, train_alone
from studies.evolution.evolution import Course, Recipe, answers, evolve
from studies.evolution.networks import Architecture
from studies.evolution.projections import Projections, Task, accuracy, project

__all__ = ["Arm", "Files", "Setting", "alone", "architectures", "encoded", "evolved"]


@dataclass(frozen=True)
class Files:
    """Showers to learn from, and others to quote numbers for."""

    data: Path
    test: Path | None

    def read(self) -> tuple[Projections, Projections | None]:
        """Read both files' projections, once. Raises UsageError or CaloforgeError."""
        return self._projections

    @cached_property
    def _projections(self) -> tuple[Projections, Projections | None]:
        return project(self.data), None if self.test is None else project(self.test)


@dataclass(frozen=True)
class Setting:
    """What a run is given: files, a budget, a seed, and a folder that outlives a killed process."""

    files: Files
    evaluations: float
    seed: int
    folder: Path
    progress: Progress = silent

    @property
    def task(self) -> Task:
        """Split the projections by the seed."""
        return Task.of(*self.files.read(), self.seed)


Arm = Callable[[Setting], dict[str, Any]]
"""One of the ways that a study compares: gives ``figures`` by name, and its ``course`` where there is one."""


def evolved(recipe: Recipe, **layers: Any) -> Arm:
    """Evolve by a recipe, from networks with these layers."""

    def run(setting: Setting) -> dict[str, Any]:
        task = setting.task
        start = _start(task, **layers)
        course = evolve(task, recipe, start, setting.evaluations, setting.seed, setting.progress)
        return _outcome(course, task)

    return run


def alone(*, learning_rate: float = 0.01, **layers: Any) -> Arm:
    """Train one network by RMSprop."""

    def run(setting: Setting) -> dict[str, Any]:
        task = setting.task
        course = train_alone(
            task,
            _start(task, **layers),
            setting.evaluations,
            setting.seed,
            learning_rate=learning_rate,
            progress=setting.progress,
        )
        return _outcome(course, task)

    return run


def architectures(**layers: Any) -> Arm:
    """Evolve the architecture alone, from these layers."""

    def run(setting: Setting) -> dict[str, Any]:
        task = setting.task
        course = search_architectures(
            task,
            _start(task, **layers),
            setting.evaluations,
            setting.seed,
            progress=setting.progress,
        )
        return _outcome(course, task)

    return run


def encoded(recipe: Recipe, **layers: Any) -> Arm:
    """Evolve, then measure the chain that the best network came from; it must grow the same bits."""

    def run(setting: Setting) -> dict[str, Any]:
        task = setting.task
        start = _start(task, **layers)
        course = evolve(task, recipe, start, setting.evaluations, setting.seed, setting.progress)
        chain = course.best.chain(setting.seed, start)
        assert chain is not None, "mutations alone leave a chain"
        size = len(chain.to_bytes())
        began = time.process_time()
        _, weights_W = chain.grow()
        figures = {
            "genes": len(chain.genes),
            "chain_bytes": size,
            "weights_bytes": weights_W.nbytes,
            "compression": weights_W.nbytes / size,
            "grow_s": time.process_time() - began,
            "equal_bits": float(weights_W.tobytes() == course.best.weights_W.tobytes()),
        }
        outcome = _outcome(course, task)
        return {**outcome, "figures": {**outcome["figures"], **figures}}

    return run


def _start(task: Task, **layers: Any) -> Architecture:
    _, patches, cells = task.train.patches_BNK.shape
    return replace(Architecture(patches, cells), **layers)


def _outcome(course: Course, task: Task) -> dict[str, Any]:
    """Return what every run tells; the quoted accuracy is that on the test part."""
    best = course.best
    quoted = accuracy(answers([best], task.test)[0], task.test.energy_B)
    return {
        "figures": {
            "rmse_GeV": quoted.rmse_GeV,
            "resolution": quoted.resolution,
            "course_GeV": course.average(),
            "core_s": course.core_s[-1],
            "weights": best.architecture.n_weights,
        },
        "layers": [best.architecture.channels, *best.architecture.hidden],
        "course_of": "RMSE of the validation part [GeV]",
        "course": {
            "evaluations": course.evaluations,
            "core_s": course.core_s,
            "error": course.rmse_GeV,
        },
    }
