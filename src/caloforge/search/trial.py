"""One trial: a choice, a seed and a budget become a trained network and its objectives, in a run folder.

A short beginning of the training is timed; from that follow the steps that the budget allows, and with them the
schedule of the learning rate. Then it is trained in stages. After each but the last the physics check's score
decides whether it goes on. Whatever is done is noted, so a trial that was left by its worker goes on from there.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from caloforge.foundations.durable import sealed, unsealed, write_json
from caloforge.foundations.progress import Progress, say_nothing
from caloforge.foundations.texts import fill, read_json
from caloforge.search.study import VALIDATION_FRACTION, Study
from caloforge.search.trials import Trial
from caloforge.training.checkpoint import checkpoints
from caloforge.training.config import load_config
from caloforge.training.physics_check import WORST_SCORE
from caloforge.training.trainer import train

__all__ = ["STAGES", "Plan", "run_trial"]

STAGES = (1 / 9, 1 / 3, 1.0)
"""Parts of the steps after which a trial is looked at; the last is the end."""

FIRST_STEPS = 3
"""Of these the time is taken."""

CHECK_SHOWERS = 100
PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """The steps that the budget allows, the epochs that they begin, what a step costs, and what this cost."""

    steps: int
    epochs: int
    step_core_seconds: float
    core_seconds: float


def run_trial(
    study: Study,
    trial: Trial,
    judge: Callable[[Path], dict[str, float]],
    note: Callable[[str, dict[str, float]], None],
    progress: Progress,
) -> dict[str, float] | None:
    """Run a trial, or what is left of it; return its objectives by name, or None where it was stopped.

    ``note`` notes something by name, for good. Raises what the training raises; KeyboardInterrupt with a
    checkpoint written.
    """
    folder, noted = study.run_folder(trial.number), trial.notes
    plan = _planned(folder) or _plan(study, trial)
    if "plan" not in noted:
        note("plan", asdict(plan))
    for stage in range(len(STAGES)):
        if _end(plan, stage) <= FIRST_STEPS:
            continue  # so expensive that there is nothing to look at yet
        found = noted.get(f"stage {stage}") or _run_stage(study, trial, plan, stage, progress)
        if f"stage {stage}" not in noted:
            note(f"stage {stage}", found)
        if _end(plan, stage) < plan.steps and study.hopeless(trial, stage, found["score"]):
            _tidy(folder, keep=0)
            return None
    started = time.process_time()
    objectives = judge(folder)
    if "judged" not in noted:
        note("judged", {"core_seconds": time.process_time() - started})
    _tidy(folder, keep=1)
    return objectives


def _run_stage(
    study: Study, trial: Trial, plan: Plan, stage: int, progress: Progress
) -> dict[str, float]:
    """Train to the end of a stage; return its score (small is good), the steps so far, and what it cost."""
    # What a killed worker had done of it counts as planned.
    begun = _end(plan, stage - 1) if stage else FIRST_STEPS
    done = _steps_done(study.run_folder(trial.number))
    before = max(0, done - max(FIRST_STEPS, begun)) * plan.step_core_seconds
    started = time.process_time()
    result = _train(
        study,
        trial,
        progress,
        epochs=plan.epochs,
        max_steps=_end(plan, stage),
        checkpoint_every_steps=max(1, plan.steps // 20),
    )
    score = float(result["best"]["score"])
    return {
        "score": score if math.isfinite(score) else WORST_SCORE,
        "steps": float(result["steps"]),
        "core_seconds": before + time.process_time() - started,
    }


def _end(plan: Plan, stage: int) -> int:
    """Return the last step of a stage."""
    return math.ceil(STAGES[stage] * plan.steps)


def _plan(study: Study, trial: Trial) -> Plan:
    """Train the first steps, and see what the budget allows after them."""
    folder = study.run_folder(trial.number)
    shutil.rmtree(folder, ignore_errors=True)  # what was begun without a plan is a few steps
    times: list[float] = []
    started = time.process_time()
    result = _train(
        study, trial, lambda *_, **__: times.append(time.process_time()), max_steps=FIRST_STEPS
    )
    ended = time.process_time()
    # Called before the first step and after each; the first one allocates and plans.
    step = median(b - a for a, b in pairwise(times[1:]))
    check, start = ended - times[-1], times[0] - started
    steps_per_epoch = result["steps"] / result["epochs"]
    budget = trial.proposal.part * study.settings.core_seconds
    left = budget - (ended - started) - len(STAGES) * (start + check)
    steps = FIRST_STEPS + max(1, math.floor(left / (step + check / steps_per_epoch)))
    plan = Plan(steps, math.ceil(steps / steps_per_epoch), step, ended - started)
    write_json(folder / PLAN, sealed(asdict(plan)))
    return plan


def _planned(folder: Path) -> Plan | None:
    path = folder / PLAN
    if not path.is_file():
        return None
    return fill(Plan, unsealed(read_json(path), str(path)), str(path))


def _train(study: Study, trial: Trial, progress: Progress, **limits: int) -> dict[str, Any]:
    """Train up to a limit, from where the run is."""
    folder, parent = study.run_folder(trial.number), trial.proposal.parent
    always = {
        "seed": study.settings.seed,
        "validation_fraction": VALIDATION_FRACTION,
        "check_showers": CHECK_SHOWERS,
        "keep_checkpoints": 2,
    }
    return train(
        load_config(base={**study.space.settings(trial.choice), **always, **limits}),
        [Path(path) for path in study.settings.data],
        folder,
        resume=(folder / "config.yaml").is_file(),
        init_from=[] if parent is None else [study.run_folder(parent)],
        progress=progress,
        say=say_nothing,
    )


def _steps_done(folder: Path) -> int:
    """Count the steps up to the newest checkpoint."""
    names = [path.stem for path in checkpoints(folder / "checkpoints")]
    return max((int(name.partition("-")[2]) for name in names), default=0)


def _tidy(folder: Path, *, keep: int) -> None:
    """Remove checkpoints that nobody will need."""
    paths = checkpoints(folder / "checkpoints")
    for path in paths[: len(paths) - keep]:
        path.unlink(missing_ok=True)
