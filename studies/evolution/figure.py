"""A finding as a figure: how the error falls with cost, and where each arm ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.foundations.durable import atomic_path
from caloforge.report.plots.draw import few_ticks, picture
from caloforge.report.plots.style import heading, look
from studies.evolution.table import LABELS

__all__ = ["draw_finding"]

POINTS = 60
MARGIN = 1.2
COSTS = (("evaluations", "Evaluations"), ("core_s", "Core-seconds"))
DECADES = 1e3
"""Of the cost that are shown: before them everything is new."""


def draw_finding(path: Path, result: Mapping[str, Any]) -> None:
    """Write a PNG file of the runs' curves, and of the first column of their table.

    Raises MissingExtraError without the extra ``report``.
    """
    runs, question = result["runs"], result["question"]
    arms = list(dict.fromkeys(run["arm"] for run in runs))

    def fill(canvas: Any) -> None:
        with_course = all("curve" in run for run in runs)
        canvas.set_size_inches(12.6 if with_course else 5.2, 4.3)
        frames = np.atleast_1d(canvas.subplots(1, 3 if with_course else 1))
        canvas.subplots_adjust(0.07 if with_course else 0.15, 0.2, 0.985, 0.88, wspace=0.24)
        if with_course:
            for axes, (cost, label) in zip(frames, COSTS, strict=False):
                _curves(axes, arms, runs, cost)
                axes.set_xlabel(label)
                few_ticks(axes.xaxis)
                few_ticks(axes.yaxis)
            frames[0].set_ylabel(runs[0]["curve_of"])
            frames[0].legend(loc="upper right", fontsize=9)
        _ends(frames[-1], arms, runs, result["columns"][0])
        canvas.text(0.02, 0.95, question, **heading(question, 90 if with_course else 42))

    content = picture(fill)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _curves(axes: Any, arms: Sequence[str], runs: Sequence[Mapping[str, Any]], cost: str) -> None:
    """Draw each arm's geometric mean over seeds with its standard error, where all of its runs are known."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    errors = [run["curve"]["error"] for run in runs]
    shown = [error for curve in errors for error in curve[1:] or curve]  # the first is of new networks
    axes.set_ylim(min(shown) / MARGIN, max(shown) * MARGIN)  # also where nothing was learned
    for index, arm in enumerate(arms):
        curves = [run["curve"] for run in runs if run["arm"] == arm]
        first = max(next(spent for spent in curve[cost] if spent > 0) for curve in curves)
        last = min(curve[cost][-1] for curve in curves)
        last = max(last, first, 1e-6)
        x = np.geomspace(max(first, last / DECADES), last * 1.0001, POINTS)
        logs_SP = np.array([np.log(_at(curve, cost, x)) for curve in curves])
        mean, error = logs_SP.mean(0), logs_SP.std(0, ddof=min(1, len(curves) - 1))
        error = error / len(curves) ** 0.5
        colour, line, _ = look(index)
        axes.plot(x, np.exp(mean), color=colour, linestyle=line, label=arm)
        axes.fill_between(
            x, np.exp(mean - error), np.exp(mean + error), color=colour, alpha=0.18, linewidth=0
        )


def _at(curve: Mapping[str, Any], cost: str, x: Any) -> Any:
    """Read the error where so much was spent: it is the last one checked."""
    place = np.searchsorted(curve[cost], x * 1.0002, side="right") - 1
    return np.asarray(curve["error"])[np.clip(place, 0, None)]


def _ends(axes: Any, arms: Sequence[str], runs: Sequence[Mapping[str, Any]], number: str) -> None:
    """Draw a number of every run as a dot, and the mean with its standard error."""
    for index, arm in enumerate(arms):
        values = np.array([run["numbers"][number] for run in runs if run["arm"] == arm])
        colour, _, marker = look(index)
        axes.plot(np.full(len(values), index), values, "o", color=colour, alpha=0.3, markersize=4)
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
        axes.errorbar(index + 0.18, values.mean(), error, fmt=marker, color=colour, capsize=3)
    axes.set_xticks(range(len(arms)), arms, rotation=20, ha="right", fontsize=9)
    axes.set_xlim(-0.5, len(arms) - 0.3)
    axes.set_ylim(0)
    axes.set_ylabel(LABELS.get(number, number))
