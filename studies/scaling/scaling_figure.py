"""The figure of docs/scaling.md: ``python -m studies.scaling.scaling_figure scaling.json scaling.svg``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from caloforge.bench import Row
from caloforge.foundations.durable import write_text
from studies.scaling.clusters import CLUSTERS, FLAT, MPI, TRAINED
from studies.scaling.predictions import NO_SPREAD, NODES

__all__ = ["scaling_svg"]

WIDTH, HEIGHT, LEFT, TOP, PLOT_W, PLOT_H, GAP = 980, 380, 60, 40, 380, 280, 90
SVG = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
    'font-family="sans-serif" font-size="12">'
)
CURVES = {
    f"3dgan, {MPI}, {NO_SPREAD}": ("#777777", "6 4"),
    f"3dgan, {MPI}": ("#1b6ca8", ""),
    f"3dgan, {TRAINED}": ("#2a9d55", ""),
    f"3dgan-angle, {TRAINED}": ("#9b59b6", ""),
    f"3dgan, {FLAT}": ("#d1495b", ""),
}
DOTS = {"fitted": "#777777", "tested": "#1b6ca8", "bound by this machine's cores": "#e9a03b"}
LOWEST = 0.7
MS = (1.0, 10.0, 100.0, 1000.0)


def scaling_svg(rows: Iterable[Row]) -> str:
    """Draw, from rows of ``caloforge bench scaling``: predicted efficiency, and predicted against measured."""
    rows = list(rows)
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    right = LEFT + PLOT_W + GAP
    parts = [SVG, background, *_efficiency(rows), *_calibration(rows, right), "</svg>"]
    return "\n".join(parts) + "\n"


def _efficiency(rows: list[Row]) -> Iterable[str]:
    def x(nodes: float) -> float:
        return LEFT + PLOT_W * math.log2(nodes) / math.log2(NODES[-1])

    def y(efficiency: float) -> float:
        return TOP + PLOT_H * (1 - efficiency) / (1 - LOWEST)

    ticks = [(x(n), str(n)) for n in NODES]
    sides = [(y(percent / 100), f"{percent} %") for percent in range(round(100 * LOWEST), 101, 5)]
    yield from _frame(
        LEFT, ticks, sides, "Xeon nodes of 4 workers", "Weak scaling: predicted efficiency"
    )
    xeon = CLUSTERS["xeon"]
    for number, (name, (colour, dash)) in enumerate(CURVES.items()):
        points = [
            (x(float(row["workers"]) / xeon.workers_per_node), y(float(row["efficiency"])))
            for row in rows
            if row["what"] == "prediction, weak scaling"
            and str(row["setup"]).partition(" (")[0] == f"{xeon.name}: {name}"
            and float(row["efficiency"]) >= LOWEST
        ]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        line = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        yield f'<polyline points="{path}" {line}/>'
        yield _label(LEFT + 12, TOP + PLOT_H - 100 + 16 * number, name, colour)
    for workers, efficiency in xeon.published.items():
        a, b = x(workers / xeon.workers_per_node), y(efficiency)
        yield f'<circle cx="{a:.1f}" cy="{b:.1f}" r="5" fill="black"/>'
        yield _label(LEFT + 12, TOP + PLOT_H - 116, f"\u25cf published, {efficiency:.0%}", "black")


def _calibration(rows: list[Row], left: float) -> Iterable[str]:
    def along(ms: float) -> float:
        return (math.log10(ms) - math.log10(MS[0])) / math.log10(MS[-1] / MS[0])

    def x(ms: float) -> float:
        return left + PLOT_W * along(ms)

    def y(ms: float) -> float:
        return TOP + PLOT_H * (1 - along(ms))

    title = "All-reduce on emulated hosts: model against measurement"
    ticks, sides = ([(to(v), f"{v:g}") for v in MS] for to in (x, y))
    yield from _frame(left, ticks, sides, "measured, ms", title)
    diagonal = f'x1="{x(MS[0])}" y1="{y(MS[0])}" x2="{x(MS[-1])}" y2="{y(MS[-1])}"'
    yield f'<line {diagonal} stroke="#bbbbbb"/>'
    for number, (name, colour) in enumerate(DOTS.items()):
        for row in rows:
            if row["what"] == "all-reduce" and str(row["setup"]).startswith(f"{name}: "):
                measured = float(row["communication_ms"])
                model = measured * (1 + float(row["error_%"]) / 100)
                if min(measured, model) >= MS[0]:
                    yield f'<circle cx="{x(measured):.1f}" cy="{y(model):.1f}" r="3.5" fill="{colour}"/>'
        yield _label(left + 12, TOP + 18 + 16 * number, name, colour)


def _frame(
    left: float,
    ticks: Sequence[tuple[float, str]],
    sides: Sequence[tuple[float, str]],
    name: str,
    title: str,
) -> Iterable[str]:
    box = f'x="{left}" y="{TOP}" width="{PLOT_W}" height="{PLOT_H}"'
    yield f'<rect {box} fill="none" stroke="#333333"/>'
    for a, text in ticks:
        yield _middle(a, TOP + PLOT_H + 18, text)
    for b, text in sides:
        yield f'<line x1="{left}" x2="{left + PLOT_W}" y1="{b:.1f}" y2="{b:.1f}" stroke="#eeeeee"/>'
        yield f'<text x="{left - 6}" y="{b + 4:.1f}" text-anchor="end">{text}</text>'
    yield _middle(left + PLOT_W / 2, TOP + PLOT_H + 38, name)
    yield _middle(left + PLOT_W / 2, TOP - 14, title)


def _middle(a: float, b: float, text: str) -> str:
    return f'<text x="{a:.1f}" y="{b:.1f}" text-anchor="middle">{text}</text>'


def _label(a: float, b: float, text: str, colour: str) -> str:
    return f'<text x="{a}" y="{b}" fill="{colour}">{text}</text>'


if __name__ == "__main__":
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_text(Path(sys.argv[2]), scaling_svg(result["rows"]))
