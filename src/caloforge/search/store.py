"""The trials of a study on disk, written by any number of processes. The only module that imports Optuna.

The journal is a file of lines that is only ever appended to, under a lock that goes with the process that
holds it. A line that a killed process left half-written is cut off before the next one follows; readers
pass over it. Every line carries its checksum. Also here: what else Optuna does for a search, its sampler and the
importance of parameters.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import sealed, unsealed
from caloforge.foundations.errors import CaloforgeError, MissingExtraError
from caloforge.foundations.locks import open_locked
from caloforge.foundations.randomness import stream_seed
from caloforge.foundations.texts import parse_json
from caloforge.search.space import MODEL, Choice, Parameter, Space, Value
from caloforge.search.trials import Proposal, State, Trial

try:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.storages.journal import BaseJournalBackend
    from optuna.trial import FrozenTrial, TrialState, create_trial
except ImportError:
    raise MissingExtraError("search", "search") from None

__all__ = ["Store", "importances", "tpe"]

NAME = "search"
"""Of the one study that a journal holds."""

STARTUP = 8
"""Trials that are done before TPE begins to learn from them."""

LEAST_FOR_IMPORTANCE = 20
"""Trials that are done; the shares of fewer are chance."""

STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "stopped",
    TrialState.FAIL: "failed",
}
OPTUNAS = {state: name for name, state in STATES.items()}

optuna.logging.set_verbosity(optuna.logging.ERROR)


class _Journal(BaseJournalBackend):
    """Lines of JSON, each with its checksum; one process appends at a time, and the kernel frees the lock when it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = [0]
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Return the lines from this one on. Raises CaloforgeError naming one that is not as it was written."""
        with self._path.open("rb") as journal:
            journal.seek(self._starts[log_number_from])
            for number, line in enumerate(journal, log_number_from + 1):
                if not line.endswith(b"\n"):
                    if not _begun(line):
                        raise CaloforgeError(
                            f"{self._path}, line {number}: damaged: not the beginning of a line"
                        )
                    return  # being written, or left by a killed process
                if number == len(self._starts):
                    self._starts.append(self._starts[-1] + len(line))
                where = f"{self._path}, line {number}"
                try:
                    log = unsealed(parse_json(line, finite=False), where)
                except (ValueError, AttributeError):
                    raise CaloforgeError(f"{where}: expected an object in JSON") from None
                yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, after what a killed process left of its own is cut off."""
        lines = "".join(json.dumps(sealed(log), separators=(",", ":")) + "\n" for log in logs)
        with open_locked(self._path.with_suffix(".lock")), self._path.open("rb+") as journal:
            end = journal.seek(0, os.SEEK_END)
            journal.seek(max(0, end - LONGEST))
            tail = journal.read()
            if tail and not tail.endswith(b"\n"):
                journal.truncate(end - len(tail) + tail.rfind(b"\n") + 1)
            journal.seek(0, os.SEEK_END)
            journal.write(lines.encode())
            journal.flush()
            os.fsync(journal.fileno())


def _begun(line: bytes) -> bool:
    """Tell whether bytes at the end can be what a killed process has written of a line, and not a damaged one.

    Such a line is text, and if it is an object already, nothing follows it but the line's end.
    """
    try:
        text = line.decode("ascii")
        _, end = json.JSONDecoder().raw_decode(text)
    except UnicodeDecodeError:
        return False
    except ValueError:
        return text.isprintable()
    return end == len(text)


LONGEST = 1 << 20
"""Bytes that a line of the journal has at most: a trial's parameters and notes."""


class Store:
    """The trials of one study, with so many objectives, in a journal at ``path``."""

    def __init__(self, path: Path, objectives: int) -> None:
        try:
            self._storage = optuna.storages.JournalStorage(_Journal(path))
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=NAME,
                sampler=optuna.samplers.RandomSampler(seed=0),  # never asked: trials are given complete
                directions=["minimize"] * objectives,
                load_if_exists=True,
            )
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise CaloforgeError(f"{path}: not a journal of trials: {error}") from None

    def trials(self) -> list[Trial]:
        """Return all trials by number, as they are now."""
        return [_ours(trial) for trial in self._study.get_trials(deepcopy=False)]

    def begin(self, proposal: Proposal, space: Space) -> Trial:
        """Add a running trial, in one line of the journal. The caller sees to it that nobody else does now."""
        notes = {"parent": proposal.parent, "part": proposal.part, "memo": dict(proposal.memo)}
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=proposal.choice,
                distributions=_distributions(space, proposal.choice),
                user_attrs=notes,
            )
        )
        return self.trials()[-1]

    def note(self, trial: Trial, name: str, value: Any) -> None:
        """Note something of a running trial, which JSON can keep."""
        self._storage.set_trial_user_attr(self._id(trial), name, value)

    def finish(self, trial: Trial, state: State, objectives: Sequence[float] = ()) -> None:
        """End a running trial, once and for all."""
        values = [float(value) for value in objectives] or None
        self._study.tell(trial.number, values=values, state=OPTUNAS[state])

    def _id(self, trial: Trial) -> int:
        study = self._storage.get_study_id_from_name(NAME)
        return self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)


def _ours(trial: FrozenTrial) -> Trial:
    notes = dict(trial.user_attrs)
    own = (notes.pop(name) for name in ("parent", "part", "memo"))
    proposal = Proposal(dict(trial.params), *own)
    values = tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else ()
    return Trial(trial.number, proposal, STATES[trial.state], values, notes)


def _distributions(space: Space, choice: Choice) -> dict[str, BaseDistribution]:
    models: BaseDistribution = CategoricalDistribution(space.models)
    return {MODEL: models} | {name: _distribution(p) for name, p in space.of(choice)}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    if parameter.whole:
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def tpe(trials: Sequence[Trial], space: Space, seed: int) -> Proposal:
    """Propose what most raises the odds of being among the good trials: a tree-structured Parzen estimator.

    Parameters of one model are drawn together. Running trials count as bad, so that workers part; so do
    stopped ones.

    Sources: J. Bergstra et al., NeurIPS 2011; Y. Ozaki et al., GECCO 2020 (several objectives).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=stream_seed(seed, "tpe", len(trials)) % (1 << 32),
            n_startup_trials=STARTUP,
            multivariate=True,
            group=True,
            constant_liar=True,
        )
    known = [trial for trial in trials if trial.state != "failed"]
    n = next((len(trial.objectives) for trial in known if trial.state == "done"), 1)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * n)
    for trial in known:
        study.add_trial(_optunas(trial, space, trial.objectives))
    asked = study.ask()
    choice: Choice = {MODEL: asked.suggest_categorical(MODEL, space.models)}
    for name, parameter in space.of(choice):
        choice[name] = _suggested(asked, name, parameter)
    return Proposal(choice)


def _suggested(asked: optuna.Trial, name: str, parameter: Parameter) -> Value:
    if parameter.choices:
        chosen: Value = asked.suggest_categorical(name, parameter.choices)  # type: ignore[assignment]
        return chosen
    if parameter.whole:
        return asked.suggest_int(name, int(parameter.low), int(parameter.high), log=parameter.log)
    return asked.suggest_float(name, parameter.low, parameter.high, log=parameter.log)


def _optunas(trial: Trial, space: Space, objectives: Sequence[float]) -> FrozenTrial:
    return create_trial(
        state=OPTUNAS[trial.state],
        params=trial.choice,
        distributions=_distributions(space, trial.choice),
        values=list(objectives) or None,
    )


def importances(trials: Sequence[Trial], space: Space, objective: int) -> dict[str, float]:
    """Return the share of each parameter in what makes trials good by an objective; none of too few trials.

    Sources: S. Watanabe, A. Bansal, F. Hutter, PED-ANOVA, IJCAI 2023.
    """
    done = [trial for trial in trials if trial.state == "done"]
    if len(done) < LEAST_FOR_IMPORTANCE:
        return {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="minimize")
    for trial in done:
        study.add_trial(_optunas(trial, space, trial.objectives[objective : objective + 1]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that few trials have, or that never changed
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}
