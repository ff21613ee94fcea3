"""How good a network each method of search finds, at equal core-seconds.

All methods search for copulas and mixers by the AUC of the classifier on observables, on the middle of the showers that
ship (9x9x11 cells); each begins with the usual ones. Every seed is a study of its own, with other showers set
aside to judge by. Methods take turns seed by seed. A row says which AUC the best network had after so many
core-seconds: among the showers that chose it, where the luckiest wins, and among others, the shipped test showers, which
is what counts and is not charged. ``python -m studies.search_methods.comparison results.json search.png`` draws mean and spread
over the seeds.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.bench import Row
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile, write
from caloforge.foundations.progress import Progress, silent

__all__ = ["measure", "summary"]

SEEDS = 3
TRIALS = 60
"""Trials that a method could train to their end for its core-seconds."""

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


def measure(seconds: float, seed: int, progress: Progress = silent) -> list[Row]:
    """Search with each method and :data:`SEEDS` seeds for about ``seconds`` of processor time in all.

    Raises MissingExtraError without the packages of a search.
    """
    from caloforge.search.judge import Judge
    from caloforge.search.study import METHODS, Limits, Settings, Study
    from caloforge.search.worker import work

    each = seconds / (len(METHODS) * SEEDS)
    runs = [(number, method) for number in range(seed, seed + SEEDS) for method in METHODS]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="caloforge-bench-") as folder:
        showers = _middle("train", Path(folder) / "showers.h5")
        judge = Judge(_middle("test", Path(folder) / "test.h5"), ("auc",))
        for done, (number, method) in enumerate(runs):
            progress(done, len(runs))
            wanted = Settings(method, ("auc",), each / TRIALS, number, (str(showers),), SPACE)
            study = Study.joined(Path(folder) / f"{method}-{number}", wanted)
            work(study, Limits(core_seconds=each), watch=lambda _: None, progress=silent)
            rows += _curve(study, judge, method, number, each)
    progress(len(runs), len(runs))
    return rows


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


def draw(figure: Any, rows: Sequence[Row]) -> None:
    """Draw mean and standard deviation over the seeds."""
    from caloforge.report.plots.style import look

    ax = figure.subplots()
    for number, method in enumerate(dict.fromkeys(str(row["method"]) for row in rows)):
        own = [row for row in rows if row["method"] == method]
        times = sorted({float(row["core_seconds"]) for row in own})
        best = np.array([[float(r["auc"]) for r in own if r["core_seconds"] == t] for t in times])
        colour, style, _ = look(number)
        mean, spread = best.mean(1), best.std(1, ddof=1)
        ax.plot(times, mean, color=colour, linestyle=style, label=method)
        ax.fill_between(times, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    ax.set_xlabel("core-seconds")
    ax.set_ylabel("AUC of the best so far (observables, test showers)")
    ax.legend()


if __name__ == "__main__":
    from caloforge.report.plots.draw import picture

    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_bytes(picture(lambda it: draw(it, result["rows"]), (8, 5)))
