"""A finding's runs: each arm with each seed, shared by processes and kept until all are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import sha256
from caloforge.foundations.errors import UsageError
from caloforge.foundations.locks import open_locked
from caloforge.foundations.progress import Part, Progress, silent
from studies.evolution.findings import FINDINGS
from studies.evolution.processes import helped_by
from studies.evolution.regression_arms import RunSettings, ShowerFiles
from studies.work_queue import WorkQueue

__all__ = ["Request", "remove_runs", "run_finding"]

Run = dict[str, Any]
"""``arm``, ``seed``, ``numbers`` by name, and the ``curve`` where there is one."""

LOCK = ".lock"


@dataclass(frozen=True)
class Request:
    """A finding to repeat: its name, showers, a budget for each run, and the seeds 1 to ``seeds``."""

    finding: str
    files: ShowerFiles
    evaluations: float
    seeds: int

    @property
    def runs(self) -> list[tuple[str, int]]:
        """List the runs, those of one seed together."""
        arms = FINDINGS[self.finding].arms
        return [(arm, seed) for seed in range(1, self.seeds + 1) for arm in arms]

    def queue(self, folder: Path) -> WorkQueue:
        """Open the folder of the runs. Raises UsageError if it holds those of another request."""
        files = [path for path in (self.files.data, self.files.test) if path is not None]
        manifest = {
            "finding": self.finding,
            "data": [sha256(path) for path in files],
            "evaluations": self.evaluations,
            "runs": self.runs,
        }
        return WorkQueue(folder, len(self.runs), manifest)


def run_finding(
    request: Request, folder: Path, *, workers: int = 1, progress: Progress = silent
) -> list[Run]:
    """Run a finding's arms, or what is left of them in ``folder``.

    Numbers other than seconds depend on the request alone, not on ``workers`` nor on interruptions. Raises
    UsageError or CaloforgeError.
    """
    if workers > 1 and FINDINGS[request.finding].has_processes:
        raise UsageError(f"--workers: {request.finding} measures processes and starts its own")
    request.files.read()  # a file that cannot be read leaves no folder behind
    folder.mkdir(exist_ok=True)
    with open_locked(folder / LOCK, f"{folder}: another process is working in this folder"):
        queue = request.queue(folder)
        for_others = replace(request, files=replace(request.files))  # without what was read
        with helped_by(workers - 1, _help, for_others, folder):
            for _ in _share(request, queue, progress):
                pass
        results = queue.results()
    return [results[number] for number in sorted(results)]


def remove_runs(request: Request, folder: Path) -> None:
    """Remove what the runs wrote into their folder; somebody else's files stay, and the folder with them."""
    (folder / LOCK).unlink(missing_ok=True)
    request.queue(folder).finish()


def _share(request: Request, queue: WorkQueue, progress: Progress = silent) -> Iterator[int]:
    """Do what is left; yield the number of each run that is done."""
    runs, arms = request.runs, FINDINGS[request.finding].arms
    done = 0

    def run(number: int) -> Run:
        arm, seed = runs[number]
        part = Part(progress, 100 * done / len(runs), 100 * (done + 1) / len(runs))
        folder = queue.path(number, "-population")
        found = arms[arm](RunSettings(request.files, request.evaluations, seed, folder, part))
        return {"arm": arm, "seed": seed, **found}

    for number in queue.work(run):
        done += 1
        yield number
    progress(100, 100)


def _help(request: Request, folder: Path) -> None:
    for _ in _share(request, request.queue(folder)):
        pass
