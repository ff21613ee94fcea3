"""Train one network for some core-seconds, and hold its showers against Geant4's."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.metrics import measure, reference_floors
from caloforge.comparison.requirements import judge, load_requirements
from caloforge.comparison.samples import Sample, accumulate, keep_hits
from caloforge.comparison.selections import choose_selections
from caloforge.files.shower_file import ShowerFile
from caloforge.generation.condition_source import like_file
from caloforge.generation.sampler import Generator, generate_file, load
from caloforge.models.registry import WHERE
from caloforge.report.validate import DEFAULT_THRESHOLD_MEV
from caloforge.training.config import load_config
from caloforge.training.trainer import train
from studies import mixer_gan
from studies.ablations.arms import IN_GEV
from studies.core_showers import write_core

__all__ = ["Judge", "Showers", "metrics_of_interest", "run_arm"]

FIRST_STEPS = 4
"""Of these the time is taken."""

TIMED = ((1, 30), (128, 3))
"""Showers that are made at once, and how often."""

ALMOST_EMPTY = 0.5
"""Where more showers than this part hold nothing, nothing else is measured."""


@dataclass(frozen=True)
class Showers:
    """Files to train on and to judge by."""

    training: Path
    test: Path

    def cut(self, core: str, folder: Path) -> Showers:
        """Write the same with the cells of a core alone."""
        return Showers(
            write_core(folder / "training.h5", self.training, core),
            write_core(folder / "test.h5", self.test, core),
        )


class Judge:
    """Compares networks with showers that none was trained on: the numbers of ``caloforge validate``."""

    def __init__(self, showers: Showers) -> None:
        """Read the files. Raises CaloforgeError where one is damaged."""
        self._test = showers.test
        with ShowerFile(showers.test) as file:
            self._grid = replace(
                file.grid, threshold_MeV=file.grid.threshold_MeV or DEFAULT_THRESHOLD_MEV
            )
            self._selections, _ = choose_selections(file.conditions, file.conditions)
        with ShowerFile(showers.training) as file:
            self._training = keep_hits(file, self._grid)
        self._reference = self._read(showers.test)

    def floors(self) -> Metrics:
        """Compare one half of the test showers with the other."""
        return reference_floors(self._reference)

    def __call__(self, generator: Generator, folder: Path) -> dict[str, Any]:
        """Make a shower for each test shower's conditions, and measure; little of a generator that is dead."""
        made = folder / "generated.h5"
        generate_file(generator, like_file(self._test), made, seed=1)
        candidate = self._read(made)
        empty = candidate.n_empty / len(candidate)
        if empty > ALMOST_EMPTY:
            return {"empty": empty}
        numbers = measure(Comparison(self._reference, candidate), training=[self._training]).metrics
        verdict = judge(numbers, load_requirements())
        met = sum(each.state == "met" for each in verdict)
        return {"empty": empty, "met": met, "requirements": len(verdict), **metrics_of_interest(numbers)}

    def _read(self, path: Path) -> Sample:
        with ShowerFile(path) as file:
            return accumulate(file, self._selections, grid=self._grid)


def metrics_of_interest(numbers: Metrics) -> dict[str, Any]:
    """Keep the numbers that a design is known by, with their errors."""
    names = (
        "auc.low", "auc.high", "adjusted_ratio.sampling_fraction", "spread_ratio.sampling_fraction",
        "adjusted_ratio.hits", "mean_ratio.hits", "adjusted_ratio.width_across", "shape.x.mean_rel_error",
        "shape.z.mean_rel_error", "fpd", "layer_correlation.mean_abs_error",
    )  # fmt: skip
    wanted = [name + end for name in names for end in ("", "_err")]
    return {name: numbers[name] for name in wanted if name in numbers}


def run_arm(
    model: str, showers: Showers, seed: int, core_seconds: float, judge_: Judge, folder: Path
) -> dict[str, Any]:
    """Train a model for about so many core-seconds and judge it; its numbers as one row."""
    with _registered():
        plan = _plan(model, showers.training, seed, core_seconds, folder / "plan")
        started = time.process_time()
        result = _train(model, showers.training, seed, folder / "run", plan)
        spent = time.process_time() - started
        generator = load(folder / "run")
        row = {
            "arm": model,
            "seed": seed,
            "steps": result["steps"],
            "epochs": round(result["epochs"], 2),
            "core_s": round(spent, 1),
            "step_ms": round(1e3 * plan["step_s"], 1),
            "batch": plan["batch"],
            "parameters": sum(p.numel() for p in generator.model.parameters()),
            "score": result["best"]["score"],
            **{f"ms_{batch}": _generation_ms(generator, batch, times) for batch, times in TIMED},
            "checks": _checks(folder / "run"),
            **judge_(generator, folder),
        }
    return {
        name: value if not isinstance(value, float) or math.isfinite(value) else None
        for name, value in row.items()
    }


@contextmanager
def _registered() -> Iterator[None]:
    """Know the models that are no part of the package."""
    WHERE[IN_GEV] = "studies.ablations.arms:FAMILY_IN_GEV"
    try:
        with mixer_gan.known():
            yield
    finally:
        del WHERE[IN_GEV]


def _plan(model: str, data: Path, seed: int, core_seconds: float, folder: Path) -> dict[str, Any]:
    """Train the first steps, and see how many the time allows and with them the schedule of the rate."""
    times: list[float] = []
    result = _train(
        model,
        data,
        seed,
        folder,
        {"max_steps": FIRST_STEPS},
        lambda *_, **__: times.append(time.process_time()),
    )
    check = time.process_time() - times[-1]  # called before the first step and after each
    step = median(b - a for a, b in pairwise(times[1:]))
    per_epoch = result["steps"] / result["epochs"]
    steps = max(FIRST_STEPS, math.floor(core_seconds / (step + check / per_epoch)))
    batch = load_config(model=model).batch_size
    return {"max_steps": steps, "epochs": math.ceil(steps / per_epoch), "step_s": step, "batch": batch}


def _train(
    model: str, data: Path, seed: int, folder: Path, plan: dict[str, Any], progress: Any = None
) -> dict[str, Any]:
    limits: dict[str, Any] = {name: plan[name] for name in ("max_steps", "epochs") if name in plan}
    config = load_config(model=model, base={"seed": seed, "keep_checkpoints": 2, **limits})
    return train(
        config, [data], folder, progress=progress or (lambda *_, **__: None), say=lambda _: None
    )


def _checks(run: Path) -> list[dict[str, float]]:
    """Read what the physics check said after each epoch."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    names = ("score", "sampling_fraction_ratio")
    return [
        {"step": line["step"], **{name: line["check"][name] for name in names if name in line["check"]}}
        for line in lines
        if "check" in line
    ]


def _generation_ms(generator: Generator, batch: int, times: int) -> float:
    """Time a shower: processor time of making ``batch`` at once, energies over the whole range."""
    energy_B = np.linspace(*generator.card.energy_MeV, batch)
    taken = []
    for _ in range(times):
        started = time.process_time()
        generator.generate(energy_B, batch=batch)
        taken.append(time.process_time() - started)
    return round(1e3 * median(taken) / batch, 3)
