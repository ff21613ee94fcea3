"""A study's runs: each arm with each seed, shared by processes and kept until all are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import sha256
from caloforge.foundations.errors import UsageError
from caloforge.foundations.locks import open_locked
from caloforge.foundations.progress import Part, Progress, silent
from studies.evolution.processes import helped_by
from studies.evolution.regression_arms import Files, Setting
from studies.evolution.studies import STUDIES
from studies.evolution.work_queue import Tickets

__all__ = ["Request", "run_study"]

Run = dict[str, Any]
"""``arm``, ``seed``, ``figures`` by name, and the ``course`` where there is one."""


@dataclass(frozen=True)
class Request:
    """A study to run: its name, showers, a budget for each run, and the seeds 1 to ``seeds``."""

    study: str
    files: Files
    evaluations: float
    seeds: int

    @property
    def runs(self) -> list[tuple[str, int]]:
        """List the runs, those of one seed together."""
        arms = STUDIES[self.study].arms
        return [(arm, seed) for seed in range(1, self.seeds + 1) for arm in arms]

    def tickets(self, folder: Path) -> Tickets:
        """Open the folder of the runs. Raises UsageError if it holds those of another request."""
        files = [path for path in (self.files.data, self.files.test) if path is not None]
        manifest = {
            "study": self.study,
            "data": [sha256(path) for path in files],
            "evaluations": self.evaluations,
            "runs": self.runs,
        }
        return Tickets(folder, len(self.runs), manifest)


def run_study(
    request: Request, folder: Path, *, workers: int = 1, progress: Progress = silent
) -> list[Run]:
    """Run a study, or what is left of it in ``folder``.

    Figures other than seconds depend on the request alone, not on ``workers`` nor on interruptions. Raises
    UsageError or CaloforgeError.
    """
    if workers > 1 and STUDIES[request.study].has_processes:
        raise UsageError(f"--workers: {request.study} measures processes and starts its own")
    request.files.read()  # a file that cannot be read leaves no folder behind
    folder.mkdir(exist_ok=True)
    with open_locked(folder / ".lock", f"{folder}: another process is working in this folder"):
        tickets = request.tickets(folder)
        for_others = replace(request, files=replace(request.files))  # without what was read
        with helped_by(workers - 1, _help, for_others, folder):
            for _ in _share(request, tickets, progress):
                pass
        results = tickets.results()
    return [results[number] for number in sorted(results)]


def _share(request: Request, tickets: Tickets, progress: Progress = silent) -> Iterator[int]:
    """Do what is left; give the number of each run that is done."""
    runs, arms = request.runs, STUDIES[request.study].arms
    done = 0

    def run(number: int) -> Run:
        arm, seed = runs[number]
        part = Part(progress, 100 * done / len(runs), 100 * (done + 1) / len(runs))
        folder = tickets.folder / f"run-{number:06d}"
        outcome = arms[arm](Setting(request.files, request.evaluations, seed, folder, part))
        return {"arm": arm, "seed": seed, **outcome}

    for number in tickets.work(run):
        done += 1
        yield number
    progress(100, 100)


def _help(request: Request, folder: Path) -> None:
    for _ in _share(request, request.tickets(folder)):
        pass
