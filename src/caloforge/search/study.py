"""A study: a folder in which any number of workers, on any nodes, try networks by one method.

It holds ``study.json`` (what all workers must agree on), ``judge.h5`` (the showers that judge), the ``journal.log`` of
the trials, and a run folder for each under ``trials``. Who takes a trial, new or left behind, holds a lock
for that moment, and one of the trial's own for as long as it lives: locks go with the process, so a trial
that is running in the journal and whose lock is free was left by a worker that died.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

from caloforge.comparison.metrics import MIN_JUDGED
from caloforge.files.shower_writer import write
from caloforge.foundations.durable import sealed, unsealed, write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.locks import BusyError, open_locked
from caloforge.foundations.randomness import DEFAULT_SEED
from caloforge.foundations.texts import fill, read_json
from caloforge.search.evolution import BURST, evolve_one
from caloforge.search.judge import check_objectives
from caloforge.search.policy import policy
from caloforge.search.space import MODEL, Choice, load_space, parse_space
from caloforge.search.store import Store, tpe
from caloforge.search.trials import Proposal, Proposer, Trial, draw, standings
from caloforge.training.config import load_config
from caloforge.training.split import Split, prepare_data

__all__ = ["METHODS", "VALIDATION_FRACTION", "Limits", "Settings", "Study"]

METHODS: dict[str, tuple[Proposer, float]] = {
    "random": (draw, 1.0),
    "tpe": (tpe, 1.0),
    "policy": (policy, 1.0),
    "evolution": (evolve_one, BURST),
}
"""What proposes the next trial, and the part of a trial's budget that the first ones get."""

LEAST_TO_COMPARE = 3
"""Scores of other trials that it takes to call one hopeless."""

VALIDATION_FRACTION = 0.3
"""Showers that no trial is trained on: they judge all."""

MAX_JUDGING = 2000
FROM_EARLIER = 3
"""Choices that an earlier study gives."""

SETTINGS = "study.json"
LOCK = ".lock"
"""Held by the one who takes a trial."""


@dataclass(frozen=True)
class Settings:
    """What all workers of a study agree on.

    ``core_seconds`` are those of one trial's training; ``first`` are the choices that are tried before the
    method proposes any; ``space`` is the text of the file.
    """

    method: str
    data: tuple[str, ...]
    objectives: tuple[str, ...] = ("auc", "ms")
    core_seconds: float = 60.0
    seed: int = DEFAULT_SEED
    space: str = field(default_factory=lambda: load_space().text)
    first: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Limits:
    """When to stop: after so many trials, or so many core-seconds, of all workers together."""

    trials: int | None = None
    core_seconds: float | None = None


class Study:
    """A study that exists: see :meth:`joined`. Trials are taken with :meth:`taken`."""

    def __init__(self, folder: Path) -> None:
        """Open. Raises UsageError where there is no study, CaloforgeError where it is damaged."""
        self.folder = folder
        path = folder / SETTINGS
        if not path.is_file():
            raise UsageError(f"{folder}: expected the folder of a search, {SETTINGS} is missing")
        try:
            note = unsealed(read_json(path), str(path))
            self.settings = fill(Settings, note, str(path))
            self.propose, self.first_part = METHODS[self.settings.method]
        except (CaloforgeError, KeyError) as error:
            text = str(error).removeprefix(str(path))
            raise CaloforgeError(f"{path}: not the settings of a search{text}") from None
        self.space = parse_space(self.settings.space, f"{path}, space")
        self.store = Store(folder / "journal.log", len(self.settings.objectives))

    @classmethod
    def joined(cls, folder: Path, wanted: Mapping[str, Any], earlier: Path | None = None) -> Study:
        """Join the study in a folder, or begin it there if it is new, with the settings that are ``wanted``.

        It begins with every model as it is usually trained, and with the best of an ``earlier`` study.
        Raises UsageError for other settings than the study has, a folder that holds something else, or
        too few showers.
        """
        if not folder.parent.is_dir():
            raise UsageError(f"{folder}: the folder {folder.parent} does not exist")
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: expected a folder for the search, this is a file")
        if not (folder / SETTINGS).is_file():
            if "data" not in wanted:
                raise UsageError("--data: expected one or more shower files")
            _create(folder, Settings(**wanted), earlier)
        study = cls(folder)
        for name, value in wanted.items():
            ours = getattr(study.settings, name)
            if value != ours:
                found, got = ("its own", "another") if name == "space" else (repr(ours), repr(value))
                raise UsageError(
                    f"{folder}: this search has {name} {found}, got {got}; expected the same, or a new folder"
                )
        return study

    @contextmanager
    def taken(self, limits: Limits) -> Iterator[Trial | None]:
        """Return a trial to work on, left behind or new, for the length of the block; None if there is none."""
        with open_locked(self.folder / LOCK):
            found = self._left_behind() or self._new(limits)
        if found is None:
            yield None
            return
        trial, lock = found
        with lock:
            yield trial

    def _left_behind(self) -> tuple[Trial, IO[str]] | None:
        for trial in self.store.trials():
            lock = self._lock(trial.number) if trial.state == "running" else None
            if lock is not None:
                now = self.store.trials()[trial.number]
                if now.state == "running":
                    return now, lock
                lock.close()  # it ended just now
        return None

    def _new(self, limits: Limits) -> tuple[Trial, IO[str]] | None:
        trials = self.store.trials()
        if not self._has_room(trials, limits):
            return None
        lock = self._lock(len(trials))
        assert lock is not None
        return self.store.begin(self._next(trials), self.space), lock

    def _next(self, trials: Sequence[Trial]) -> Proposal:
        first = self.settings.first
        if len(trials) < len(first):
            return Proposal(first[len(trials)], part=self.first_part)
        return self.propose(trials, self.space, self.settings.seed)

    def _has_room(self, trials: Sequence[Trial], limits: Limits) -> bool:
        if limits.trials is not None and len(trials) >= limits.trials:
            return False
        return limits.core_seconds is None or self.spent(trials) < limits.core_seconds

    def spent(self, trials: Sequence[Trial]) -> float:
        """Return the core-seconds of all trials; of running and failed ones at least what they may take."""
        return sum(
            trial.core_seconds
            if trial.state in ("done", "stopped")
            else max(trial.core_seconds, trial.proposal.part * self.settings.core_seconds)
            for trial in trials
        )

    def hopeless(self, trial: Trial, stage: int, score: float) -> bool:
        """Tell whether a trial is worse after a stage than half of those with as much budget were.

        Source: asynchronous successive halving, L. Li et al., MLSys 2020.
        """
        name = f"stage {stage}"
        scores = [
            other.notes[name]["score"]
            for other in self.store.trials()
            if name in other.notes
            and other.number != trial.number
            and other.proposal.part == trial.proposal.part
        ]
        return len(scores) >= LEAST_TO_COMPARE and score > median(scores)

    def run_folder(self, number: int) -> Path:
        """Name the run folder of a trial."""
        return self.folder / "trials" / f"{number:05d}"

    def settings_of(self, trial: Trial) -> dict[str, Any]:
        """Return the settings for ``caloforge train`` that a trial chose, as long as it and its parents trained."""
        epochs, trials, at = 0, self.store.trials(), trial
        while True:
            epochs += int(at.notes.get("plan", {}).get("epochs", 0))
            if at.proposal.parent is None:
                break
            at = trials[at.proposal.parent]
        return {**self.space.settings(trial.choice), "epochs": max(1, epochs)}

    def _lock(self, number: int) -> IO[str] | None:
        """Take a trial's lock, or find it taken."""
        (self.folder / "trials").mkdir(exist_ok=True)
        try:
            return open_locked(self.run_folder(number).with_suffix(".lock"), "taken")
        except BusyError:
            return None


def _create(folder: Path, wanted: Settings, earlier: Path | None) -> None:
    """Make the folder of a study, unless another worker is quicker; where that fails, leave nothing behind."""
    check_objectives(wanted.objectives)
    if wanted.method not in METHODS:
        raise UsageError(f"method {wanted.method}: expected one of {', '.join(METHODS)}")
    parse_space(wanted.space, "space")
    others = {p.name for p in folder.iterdir() if p.name[0] != "."} if folder.is_dir() else set()
    # Looked at last: another worker may have begun the study meanwhile.
    if others - {"judge.h5"} and not (folder / SETTINGS).is_file():
        raise UsageError(f"{folder}: expected a new or empty folder, or that of a search")
    folder.mkdir(exist_ok=True)
    with open_locked(folder / LOCK):
        if (folder / SETTINGS).is_file():
            return
        try:
            _begin(folder, wanted, earlier)
        except BaseException:
            for name in ("judge.h5", LOCK):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
            raise


def _begin(folder: Path, wanted: Settings, earlier: Path | None) -> None:
    """Set showers aside to judge by, and write down what was wanted."""
    space = parse_space(wanted.space, "space")
    first = [space.usual(model) for model in space.models]
    if earlier is not None:
        other = Study(earlier)
        best = standings(other.store.trials())[:FROM_EARLIER]
        if not best:
            raise UsageError(f"--from {earlier}: expected a search with a finished trial")
        known = [trial.choice for trial in best if trial.choice[MODEL] in space.models]
        first += [choice for choice in map(space.allowed, known) if choice not in first]
    config = load_config(base={"seed": wanted.seed, "validation_fraction": VALIDATION_FRACTION})
    store = prepare_data(config, [Path(path) for path in wanted.data])
    kept_N = Split.of(store, config).validation_N[:MAX_JUDGING]
    if len(kept_N) < MIN_JUDGED:
        raise UsageError(
            f"{wanted.data[0]}: expected at least {round(MIN_JUDGED / VALIDATION_FRACTION)} showers, "
            f"{VALIDATION_FRACTION:.0%} of them to judge by, got {len(store)}"
        )
    write(folder / "judge.h5", store.showers(kept_N))
    write_json(folder / SETTINGS, sealed(asdict(wanted) | {"first": first}))
