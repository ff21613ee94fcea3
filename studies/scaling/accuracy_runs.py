"""Showers that training needs to a fixed quality, at global batches of 8 to 2,048: measured on this machine.

Every run begins afresh and is trained by data-parallel workers which are all in this process and take turns
(:mod:`studies.scaling.lockstep`): one, or up to 16 of 8 showers; larger batches make each worker's share larger.
The learning rate is that of as many workers of 8 showers: scaled linearly with warm-up
(:mod:`caloforge.training.schedule`), or with the square root of their number. After each ninth more showers the
physics check (:mod:`caloforge.training.physics_check`) scores the averaged weights on showers that were not
trained on. A run has reached a quality at the first of two checks in a row which are as good; it ends there, or
when its budget is spent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream_seed
from caloforge.showers.batch import Batch
from caloforge.training.augmentation import allowed_symmetries
from caloforge.training.begin import build_objective
from caloforge.training.config import load_config
from caloforge.training.data_parallel import Group
from caloforge.training.ema import MovingAverage
from caloforge.training.loader import Loader
from caloforge.training.memory import keep_freed_memory
from caloforge.training.physics_check import WORST_SCORE, PhysicsCheck
from caloforge.training.schedule import learning_rate
from caloforge.training.split import Split, prepare_data
from studies.scaling.lockstep import Lockstep

__all__ = ["BATCHES", "RULES", "SUBJECTS", "WORKER_BATCH", "Run", "Subject", "outcome", "train_until"]

WORKER_BATCH, MOST_WORKERS = 8, 16
"""Real showers a worker and step, as in the talk; and workers in this process, which many small batches slow down."""

BATCHES = (8, 32, 128, 512, 2048)

CHECKS_RATIO = 10 / 9
"""Showers of a check to those of the check before."""

FIRST_CHECK = 256
IN_A_ROW = 2
"""A single check can be lucky."""

SKIPS_IN_A_ROW = 10
"""As in training: weights that went astray fail in every step."""


@dataclass(frozen=True)
class Subject:
    """What is trained: cells around the axis, the score to reach, settings that are not the model's own."""

    core: str
    quality: float
    settings: dict[str, Any]


SUBJECTS = {
    "3dgan": Subject("5x5x8", 0.4, {}),
    # Its own rate, 0.01, is for batches of 64.
    "copula": Subject(
        "9x9x11",
        0.05,
        {"learning_rate": 0.01 * WORKER_BATCH / 64, "schedule": "constant"},
    ),
}
RULES = {"linear": lambda workers: workers, "root": math.isqrt}
"""The learning rate's factor after the warm-up, by the number of workers of 8 showers."""


@dataclass(frozen=True)
class Run:
    """One training: ``batch`` is a square times 8, so that the root of the workers is whole."""

    model: str
    batch: int
    rule: str
    seed: int

    @property
    def workers(self) -> int:
        """How many take part in this process."""
        return min(self.batch // WORKER_BATCH, MOST_WORKERS)


def train_until(
    run: Run, data: Path, quality: float, seconds: float, progress: Progress = silent
) -> dict[str, Any]:
    """Train until a quality is reached, or for so many core-seconds; ``data`` are the core's showers.

    Return the checks, of the showers and steps before each, and what they cost.
    """
    started = time.process_time()
    trainee = _Trainee(run, data)
    checks: list[dict[str, float]] = []
    step, skips, ended = 0, 0, ""
    due = float(FIRST_CHECK)
    while not ended:
        skips = 0 if trainee.step(step) else skips + 1
        step += 1
        done = step * run.batch
        spent = time.process_time() - started
        progress(round(min(spent, seconds)), round(seconds))
        if skips == SKIPS_IN_A_ROW:
            ended = "diverged"
        elif spent >= seconds:
            ended = "budget"
        if done < due and not ended:
            continue
        due = max(due, done) * CHECKS_RATIO
        score = trainee.score()
        score = score if math.isfinite(score) else WORST_SCORE
        checks.append({"showers": done, "step": step, "score": score})
        last = [check["score"] for check in checks[-IN_A_ROW:]]
        if len(last) == IN_A_ROW and (max(last) <= quality or min(last) == WORST_SCORE):
            ended = "reached" if max(last) <= quality else "diverged"
    return {
        "model": run.model,
        "batch": run.batch,
        "rule": run.rule,
        "seed": run.seed,
        "ended": ended,
        "workers": run.workers,
        "core_s": round(time.process_time() - started, 1),
        "checks": checks,
    }


def outcome(run: Mapping[str, Any], quality: float) -> tuple[str, int]:
    """Return ``reached`` with the showers needed to a quality; else why not, with the showers seen.

    A run that ends right after its first check as good is ``undecided``.
    """
    good = [check["score"] <= quality for check in run["checks"]]
    showers = [int(check["showers"]) for check in run["checks"]]
    for first in range(len(good) - IN_A_ROW + 1):
        if all(good[first : first + IN_A_ROW]):
            return "reached", showers[first]
    if run["ended"] == "diverged":
        return "diverged", showers[-1]
    return ("undecided" if good[-1] else "not reached"), showers[-1]


class _Trainee:
    """Networks in training by virtual workers, and the check of their averaged weights."""

    def __init__(self, run: Run, data: Path) -> None:
        self._run = run
        size = run.batch // run.workers
        base = {"batch_size": size, "seed": run.seed, "validation_fraction": 0.2}
        self._config = load_config(model=run.model, base={**SUBJECTS[run.model].settings, **base})
        store = prepare_data(self._config, [data])
        split = Split.of(store, self._config)
        self._n_train = len(split.train_N)
        self._check = PhysicsCheck(store, split.validation_N, stream_seed(run.seed, "check"))
        symmetries = allowed_symmetries(store.grid, store.conditions[split.train_N])
        self._loader = Loader(
            store, split.train_N, batch_size=size, seed=run.seed, augmentations=symmetries
        )
        keep_freed_memory()
        torch.manual_seed(stream_seed(run.seed, "weights"))
        objective = build_objective(self._config, store, split.train_N)
        self._lockstep = Lockstep(objective, self._config.learning_rate, run.seed)
        self._average = MovingAverage(objective.model, self._config.ema_decay)

    def step(self, step: int) -> bool:
        """Take a step of all workers; return whether their gradients were finite."""
        epoch = step * self._run.batch / self._n_train
        rate = learning_rate(
            self._config, RULES[self._run.rule](self._run.batch // WORKER_BATCH), epoch, []
        )
        finite = self._lockstep.step(step, list(self._batches(step)), rate)
        self._average.update(step)
        return finite

    def _batches(self, step: int) -> Iterator[Batch]:
        """Deal batches of one worker out to all, in order: a step may begin in one epoch and end in the next."""
        parts = [
            self._loader.batch(step * self._run.workers + rank) for rank in range(self._run.workers)
        ]
        total = sum(len(part.given.energy_B) for part in parts)
        return (replace(part, share=len(part.given.energy_B) / total) for part in parts)

    def score(self) -> float:
        """Score the averaged weights, small is good."""
        return self._check(self._average.average, Group())["score"]
