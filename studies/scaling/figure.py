"""The figure of the study: predicted efficiency by nodes, and modelled against measured sums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import atomic_path
from caloforge.report.plots.draw import picture
from caloforge.report.plots.style import look
from studies.scaling.clusters import CLUSTERS, FLAT, MPI, TRAINED
from studies.scaling.predictions import NODES

__all__ = ["CURVES", "draw"]

CURVES = {
    "MPI, no spread between ranks": ("3dgan", MPI, "none"),
    "MPI": ("3dgan", MPI, "as here"),
    TRAINED: ("3dgan", TRAINED, "as here"),
    f"{TRAINED}, 3dgan-angle": ("3dgan-angle", TRAINED, "as here"),
    FLAT: ("3dgan", FLAT, "as here"),
}
XEON = CLUSTERS["xeon"]
LOWEST = 0.4


def draw(path: Path, result: Mapping[str, Any]) -> None:
    """Write a PNG file."""

    def fill(canvas: Any) -> None:
        left, right = canvas.subplots(1, 2)
        _efficiency(left, result["predictions"])
        _sums(right, [row for row in result["sums"] if row["bit_per_s"]])

    content = picture(fill, (12.4, 4.8))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _efficiency(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    for index, (label, key) in enumerate(CURVES.items()):
        curve = [
            (row["workers"] / XEON.workers_per_node, row["efficiency"])
            for row in rows
            if row["cluster"] == XEON.name
            and row["scaling"] == "weak"
            and (row["network"], row["sums"], row["spread"]) == key
        ]
        colour, line, _ = look(index)
        axes.plot(*zip(*curve, strict=True), color=colour, linestyle=line, label=label)
    for workers, efficiency in XEON.published.items():
        axes.plot(workers / XEON.workers_per_node, efficiency, "ok", label="published")
    axes.set_xscale("log", base=2)
    axes.set_xticks(NODES, map(str, NODES))
    axes.set_ylim(LOWEST, 1.01)
    axes.set_xlabel("Xeon nodes of 4 workers")
    axes.set_ylabel("Weak scaling efficiency, predicted")
    axes.legend(fontsize=8.5, loc="lower left")


def _sums(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    for index, use in enumerate(dict.fromkeys(row["use"] for row in rows)):
        points = [
            (1e3 * row["seconds"], 1e3 * max(row["model_s"], 1e-6)) for row in rows if row["use"] == use
        ]
        colour, _, marker = look(index)
        axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=4, label=use)
    ends = [1e3 * end(row["seconds"] for row in rows) for end in (min, max)] if rows else [1, 10]
    axes.plot(ends, ends, color="#bbbbbb", zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("Sum between emulated hosts, measured, ms")
    axes.set_ylabel("Modelled, ms")
    if rows:
        axes.legend(fontsize=8.5)
