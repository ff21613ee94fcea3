"""A worker of a study: takes trials, runs them, tells what came out, until there is nothing left to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.foundations.progress import Progress
from caloforge.search.judge import Judge
from caloforge.search.study import Limits, Study
from caloforge.search.trial import run_trial
from caloforge.search.trials import Trial

__all__ = ["Watch", "work"]

WAIT_S = 1.0
"""Between two looks whether another worker has left a trial."""

Watch = Callable[[Sequence[Trial]], None]
"""Called with all trials whenever this worker has begun one or got on with it."""


def work(study: Study, limits: Limits, *, watch: Watch, progress: Progress) -> None:
    """Work until the limits are reached and no trial is running, by whomever.

    Raises UsageError where a choice cannot be trained on these showers at all, MissingExtraError;
    KeyboardInterrupt with the trial left for another worker.
    """
    judge = Judge(study.folder / "judge.h5", study.settings.objectives)
    while True:
        with study.taken(limits) as trial:
            if trial is not None:
                _run(study, trial, judge, watch, progress)
                continue
        trials = study.store.trials()
        watch(trials)
        if all(trial.state != "running" for trial in trials):
            return
        time.sleep(WAIT_S)


def _run(study: Study, trial: Trial, judge: Judge, watch: Watch, progress: Progress) -> None:
    def note(name: str, value: dict[str, float]) -> None:
        study.store.note(trial, name, value)
        watch(study.store.trials())

    watch(study.store.trials())
    try:
        objectives = run_trial(study, trial, judge, note, progress)
    except (UsageError, MissingExtraError) as error:  # no other choice would do better
        study.store.note(trial, "error", str(error))
        study.store.finish(trial, "failed")
        raise
    except (CaloforgeError, MemoryError) as error:
        study.store.note(trial, "error", str(error) or "out of memory")
        study.store.finish(trial, "failed")
        return
    if objectives is None:
        study.store.finish(trial, "stopped")
    else:
        study.store.finish(trial, "done", [objectives[n] for n in study.settings.objectives])
