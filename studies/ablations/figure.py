"""An ablation as a figure: a frame for each number, a bar for each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.comparison.key_metrics import perfect, title_of
from caloforge.foundations.durable import atomic_path
from caloforge.report.plots.draw import picture
from caloforge.report.plots.style import fitted, heading, look
from studies.ablations.arms import Ablation

__all__ = ["draw_ablation"]

LABELS = {
    "step_ms": "Core-milliseconds a training step",
    "score": "Score of the physics check",
    "empty": "Part of the showers without any deposit",
    "ms_128": "Core-milliseconds a shower, 128 at once",
    "mean_ratio.hits": "Hits: candidate / reference",
}
MEASURED_OF_SHOWERS = ("auc.", "adjusted_ratio.", "mean_ratio.")


def draw_ablation(path: Path, what: Ablation, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write a PNG file. Raises MissingExtraError without matplotlib."""

    def fill(canvas: Any) -> None:
        canvas.set_size_inches(3.1 * len(what.shown), 3.9)
        frames = canvas.subplots(1, len(what.shown))
        canvas.subplots_adjust(0.06, 0.2, 0.975, 0.82, wspace=0.32)
        for axes, name in zip(frames, what.shown, strict=True):
            _bars(axes, name, what.arms, runs)
        canvas.text(0.02, 0.94, what.question, **heading(what.question, 90))

    content = picture(fill)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _bars(axes: Any, name: str, arms: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> None:
    """Draw the mean over seeds as a bar, each seed as a dot with its error; what was not measured is said."""
    for index, arm in enumerate(arms):
        own = [run for run in runs if run["arm"] == arm and run.get(name) is not None]
        values = np.array([run[name] for run in own], dtype=float)
        errors = np.array([run.get(f"{name}_err") or 0.0 for run in own], dtype=float)
        if not len(own):
            axes.text(index, 0, "not measured", rotation=90, ha="center", va="bottom", fontsize=8)
            continue
        axes.bar(index, values.mean(), color=look(index)[0], alpha=0.55, width=0.7)
        spots = index + np.linspace(-0.15, 0.15, len(own)) if len(own) > 1 else [index]
        axes.errorbar(spots, values, errors, fmt="o", color="black", markersize=3, linewidth=1)
    if name.startswith(MEASURED_OF_SHOWERS):
        axes.axhline(perfect(name), color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(arms)), arms, rotation=25, ha="right", fontsize=8.5)
    axes.set_xlim(-0.6, len(arms) - 0.4)
    label = LABELS.get(name) or title_of(name)
    axes.set_title(label, fontsize=fitted(label, 9, 34))
