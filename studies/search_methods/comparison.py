"""How good a network each method of search finds, at equal core-seconds.

All methods search for copulas and mixers by the AUC of the classifier on observables, on the middle of the package's
showers (9x9x11 cells); each begins with the usual ones. Every seed is a search of its own, with other showers set
aside to judge by. A row says which AUC the best network had after so many core-seconds: among the showers that chose
it, where the luckiest wins, and among others, the shipped test showers, which is what counts and is not charged.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from caloforge.bench import Row
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import write
from caloforge.foundations.durable import atomic_path
from caloforge.foundations.progress import Progress, silent
from studies.work_queue import WorkQueue

__all__ = ["Request", "draw", "measure", "summary"]

METHODS = ("random", "tpe", "policy", "evolution")
POINTS = 12
SPACE = """
models:
  copula:
    learning_rate: {low: 0.001, high: 0.1, log: true}
    batch_size: {choices: [16, 32, 64, 128]}
    architecture.factors: {low: 2, high: 64, log: true, int: true}
  mixer:
    learning_rate: {low: 0.0003, high: 0.03, log: true}
    batch_size: {choices: [16, 32, 64]}
    architecture.width: {choices: [12, 24, 48, 96]}
    architecture.blocks: {low: 1, high: 4, int: true}
    architecture.latent: {low: 4, high: 48, log: true, int: true}
    architecture.patch: {choices: [3, 5, 9]}
"""


@dataclass(frozen=True)
class Request:
    """What to compare: the seeds 1 to ``seeds``, core-seconds of a search, and of the training of each trial."""

    seeds: int
    core_seconds: float
    each: float

    @property
    def searches(self) -> list[tuple[int, str]]:
        """List the searches; methods take turns seed by seed."""
        return [(seed, method) for seed in range(1, self.seeds + 1) for method in METHODS]

    def queue(self, folder: Path) -> WorkQueue:
        """Open the folder of the searches. Raises UsageError if it holds those of another request."""
        manifest = {"searches": self.searches, "core_seconds": self.core_seconds, "each": self.each}
        return WorkQueue(folder, len(self.searches), manifest)


def measure(request: Request, folder: Path, progress: Progress = silent) -> list[Row]:
    """Search with each method and seed, or do what is left of it in ``folder``; return the rows of all.

    Raises MissingExtraError without the packages of a search.
    """
    queue = request.queue(folder)

    def search(number: int) -> dict[str, Any]:
        seed, method = request.searches[number]
        return {"rows": list(_search(method, seed, request))}

    for done, _ in enumerate(queue.work(search), 1):
        progress(done, queue.count)
    return [row for result in queue.results().values() for row in result["rows"]]


def _search(method: str, seed: int, request: Request) -> Iterator[Row]:
    from caloforge.search.judge import Judge
    from caloforge.search.study import Limits, Study
    from caloforge.search.worker import work

    with TemporaryDirectory(prefix="caloforge-search-") as place:
        showers = _middle("train", Path(place) / "showers.h5")
        judge = Judge(_middle("test", Path(place) / "test.h5"), ("auc",))
        wanted = {
            "method": method,
            "data": (str(showers),),
            "objectives": ("auc",),
            "core_seconds": request.each,
            "seed": seed,
            "space": SPACE,
        }
        study = Study.joined(Path(place) / "study", wanted)
        work(study, Limits(core_seconds=request.core_seconds), watch=lambda _: None, progress=silent)
        yield from _curve(study, judge, method, seed, request.core_seconds)


def _middle(part: str, path: Path) -> Path:
    """Cut out the cells around the axis, in which most of the energy is."""
    with ShowerFile(shipped_showers(part)) as file:
        showers = file.read(0, len(file))
    grid = replace(showers.grid, name="clic-ecal-middle", shape=(9, 9, 11))
    write(path, replace(showers, deposits=showers.deposits[:, 8:17, 8:17, 2:13].copy(), grid=grid))
    return path


def _curve(study: Any, judge: Any, method: str, seed: int, core_seconds: float) -> list[Row]:
    """Return the best until some times; nothing is known before the first trial ends."""
    trials = study.store.trials()
    judged = functools.cache(lambda number: judge(study.run_folder(number))["auc"])
    spent = np.cumsum([trial.core_seconds for trial in trials])
    rows: list[Row] = []
    for at in np.linspace(0, core_seconds, POINTS + 1)[1:]:
        until = [t for t, end in zip(trials, spent, strict=True) if end <= at] or trials[:1]
        best = min(
            (trial for trial in until if trial.state == "done"),
            key=lambda trial: trial.objectives[0],
            default=None,
        )
        rows.append(
            {
                "method": method,
                "seed": seed,
                "core_seconds": round(float(at), 3),
                "chosen_by_auc": best.objectives[0] if best else 1.0,
                "auc": judged(best.number) if best else 1.0,
                "model": best.choice["model"] if best else "",
                "trials": len(until),
                "stopped": sum(trial.state == "stopped" for trial in until),
            }
        )
    return rows


def summary(rows: Sequence[Row]) -> str:
    """Return the last best of each method, as mean and its error over the seeds, in Markdown."""
    lines = [
        "| method | AUC of the best | where it was chosen | trials | of them stopped |",
        "|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        last = {row["seed"]: row for row in rows if row["method"] == method}.values()
        aucs = [_mean([float(row[name]) for row in last]) for name in ("auc", "chosen_by_auc")]
        counts = [np.mean([float(row[name]) for row in last]) for name in ("trials", "stopped")]
        lines.append(f"| {method} | {' | '.join(aucs)} | {counts[0]:.1f} | {counts[1]:.1f} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    """Write a mean with its error."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} ± {error:.3f}"


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Write a PNG file of the best AUC so far, mean and standard error over the seeds.

    Raises MissingExtraError without the extra ``report``.
    """
    from caloforge.report.plots.draw import picture

    content = picture(lambda figure: _fill(figure, rows), (8, 5))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _fill(figure: Any, rows: Sequence[Row]) -> None:
    from caloforge.report.plots.style import look

    ax = figure.subplots()
    for number, method in enumerate(dict.fromkeys(str(row["method"]) for row in rows)):
        own = [row for row in rows if row["method"] == method]
        times = sorted({float(row["core_seconds"]) for row in own})
        best = np.array([[float(r["auc"]) for r in own if r["core_seconds"] == t] for t in times])
        colour, style, _ = look(number)
        n = best.shape[1]
        mean, error = best.mean(1), best.std(1, ddof=min(1, n - 1)) / n**0.5
        ax.plot(times, mean, color=colour, linestyle=style, label=method)
        ax.fill_between(times, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
    ax.set_xlabel("core-seconds")
    ax.set_ylabel("AUC of the best so far (observables, test showers)")
    ax.legend()
