"""What a trained network is worth: the objectives, by name, all of them the better the smaller."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.metrics import measure_auc
from caloforge.comparison.samples import Sample, accumulate
from caloforge.comparison.selections import Selection, choose_selections
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.generation.condition_source import like_file
from caloforge.generation.sampler import Generator, generate_file, load
from caloforge.report.validate import DEFAULT_THRESHOLD_MEV

__all__ = ["OBJECTIVES", "Judge", "check_objectives"]

ALONE = 30
"""Showers that are made one by one to see how long one takes."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A network, and its showers beside the reference's."""

    generator: Generator
    comparison: Comparison

    @cached_property
    def metrics(self) -> Metrics:
        """The numbers that need no classifier."""
        return self.comparison.metrics()


def _milliseconds(judged: Judged) -> float:
    conditions, times = judged.comparison.reference.conditions, []
    for number in range(ALONE):
        at = number % len(conditions)
        started = time.process_time()
        judged.generator.model.sample(conditions[at : at + 1], 1, number)
        times.append(1e3 * (time.process_time() - started))
    return median(times)


def _parameters(judged: Judged) -> float:
    return float(sum(p.numel() for p in judged.generator.model.parameters()))


OBJECTIVES: dict[str, tuple[str, Callable[[Judged], float | None]]] = {
    "auc": (
        "AUC of the classifier on observables",
        lambda it: measure_auc(it.comparison, "high")["auc.high"],
    ),
    "auc.low": (
        "AUC of the classifier on cells",
        lambda it: measure_auc(it.comparison, "low")["auc.low"],
    ),
    "legacy": ("the 3DGAN papers' single figure", lambda it: it.metrics["legacy_3dgan_metric"]),
    "ms": ("core-milliseconds a shower at batch 1", _milliseconds),
    "parameters": ("parameters of the generator", _parameters),
}
"""Meaning and measurement by name; names that begin as :data:`DEVIATIONS` do are numbers of metrics.json."""

DEVIATIONS = ("separation.", "shape.", "moments.", "resolution.", "sampling_fraction.max_abs")


def check_objectives(names: Sequence[str]) -> None:
    """Raise UsageError for a name that is unknown, or given twice."""
    known = [*OBJECTIVES, *(f"{start}*" for start in DEVIATIONS)]
    for name in names:
        if name not in OBJECTIVES and not name.startswith(DEVIATIONS):
            raise UsageError(f"objective {name}: expected one of {', '.join(known)}")
    if not names or len(set(names)) < len(names):
        raise UsageError(f"objectives: expected one or more different names, got {', '.join(names)}")


class Judge:
    """Compares networks with the showers of a file that none of them was trained on."""

    def __init__(self, reference: Path, objectives: Sequence[str]) -> None:
        """Read the file. Raises CaloforgeError where it is damaged."""
        self._path, self._objectives = reference, objectives
        with ShowerFile(reference) as file:
            self._grid = replace(
                file.grid, threshold_MeV=file.grid.threshold_MeV or DEFAULT_THRESHOLD_MEV
            )
            self._selections: Sequence[Selection]
            self._selections, _ = choose_selections(file.conditions, file.conditions)
        self._reference = self._read(reference)

    def __call__(self, run: Path) -> dict[str, float]:
        """Make a run's showers for the reference's conditions, in ``generated.h5`` of its folder; measure.

        Raises CaloforgeError for an objective that is undefined.
        """
        generator, made = load(run), run / "generated.h5"
        generate_file(generator, like_file(self._path), made, seed=1)
        judged = Judged(generator, Comparison(self._reference, self._read(made)))
        found = {name: self._measure(name, judged) for name in self._objectives}
        for name, value in found.items():
            if value is None or not math.isfinite(value):
                raise CaloforgeError(f"{made}: objective {name} is undefined")
        return {name: float(value) for name, value in found.items() if value is not None}

    def _measure(self, name: str, judged: Judged) -> float | None:
        if name in OBJECTIVES:
            return OBJECTIVES[name][1](judged)
        value: Any = judged.metrics.get(name)
        return value if isinstance(value, float) else None

    def _read(self, path: Path) -> Sample:
        with ShowerFile(path) as file:
            return accumulate(file, self._selections, grid=self._grid)
