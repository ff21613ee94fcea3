"""The tables of docs/scaling.md, from rows of ``caloforge bench scaling``, which prints most of them.

``python -m studies.scaling.scaling_tables scaling.json docs/scaling.md`` fills them in: what stands between
the lines ``<!-- NAME -->`` and ``<!-- end -->`` of the document is replaced by the table of that name.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caloforge.bench import Row
from caloforge.foundations.durable import write_text
from studies.scaling.clusters import CLUSTERS, TRAINED
from studies.scaling.cost_model import slowest_normal_s
from studies.scaling.predictions import GLOBAL_BATCH

__all__ = ["TABLES", "Tables", "fill", "summary", "table"]

SHOWN_NODES = (1, 8, 32, 64, 128, 256)
TALK_NODES = 128
XEON = CLUSTERS["xeon"]


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a table as Markdown."""
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *lines))


def _percent(value: float | str) -> str:
    return "" if value == "" else f"{100 * float(value):.1f} %"


def _ms(value: float | str) -> str:
    return "" if value == "" else f"{float(value):.0f}" if float(value) >= 100 else f"{float(value):.1f}"


def _signed(value: float | str) -> str:
    return "" if value == "" else f"{float(value):+.1f} %"


def _steps(rows: list[Row]) -> str:
    parts = ("step_ms", "cpu_ms", "compute_ms", "waiting_ms", "communication_ms")
    head = (
        "", "scaling", "", "ranks", "step, ms", "cpu", "compute", "waiting", "communication", "efficiency",
        "own cores", "error of prediction",
    )  # fmt: skip
    return table(
        head,
        (
            (
                row["kind"],
                str(row["what"]).removesuffix(" scaling"),
                str(row["setup"]).removeprefix("3dgan, "),
                row["workers"],
                *(_ms(row[part]) for part in parts),
                _percent(row["efficiency"]),
                _percent(row["own_cores"]),
                _signed(row["error_%"]),
            )
            for row in rows
            if row["what"] in ("weak scaling", "strong scaling")
        ),
    )


def _calibration(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        if row["what"] == "calibration":
            points, _, fit = str(row["setup"]).partition(": gloo adds ")
            adds, _, largest = fit.partition("; mean error, largest ")
            lines.append((points, _signed(row["error_%"]).lstrip("+"), largest, adds))
    return table(("all-reduces", "mean error", "largest", "gloo adds"), lines)


def _points(rows: list[Row]) -> list[tuple[str, str, str, float, Row]]:
    """List all-reduces between hosts: how it was used, the link, the way, MB."""
    found = []
    for row in rows:
        if row["what"] == "all-reduce" and "Gbit/s" in str(row["setup"]):
            use, _, setup = str(row["setup"]).partition(": ")
            link, way, size = setup.rsplit(", ", 2)
            found.append((use, link, way, float(size.split()[0]) / 1e6, row))
    return found


def _messages(rows: list[Row]) -> str:
    lines = []
    for use, link, way, mb, row in _points(rows):
        latency, rate = link.split(", ")
        if mb < 0.1 or (rate == "0.1 Gbit/s" and latency != "0.1 ms") or "cores" in use:
            continue
        measured, error = float(row["communication_ms"]), float(row["error_%"])
        model = measured * (1 + error / 100)
        lines.append((link, way, f"{mb:.2f}", f"{measured:.2f}", f"{model:.2f}", _signed(error), use))
    return table(("link", "", "MB", "measured, ms", "model, ms", "error", ""), lines)


def _latencies(rows: list[Row]) -> str:
    """Count the latencies that the fewest bytes cost, from the longest and the shortest at 1 Gbit/s."""
    ms: dict[str, dict[float, float]] = {}
    for use, link, way, mb, row in _points(rows):
        latency, rate = link.split(", ")
        if rate == "1 Gbit/s" and mb < 0.1 and "two" not in use:
            ms.setdefault(way, {})[float(latency.split()[0])] = float(row["communication_ms"])
    lines = []
    for way, times in ms.items():
        kind, sides = way.split()
        n = [int(side) for side in sides.split("x")]
        short, long = min(times), max(times)
        measured = (times[long] - times[short]) / (long - short)
        ring = kind == "ring"
        modelled = 4 * (n[0] - 1) if ring else 4 * len(n)
        lines.append((way, f"{measured:.1f}", modelled, 2 * (n[0] - 1) if ring else ""))
    return table(("", "measured", "as modelled", "textbook ring"), lines)


def _predicted(rows: list[Row], what: str) -> dict[str, dict[int, Row]]:
    """Return the talk's predictions: rows by setup and nodes."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        cluster, _, setup = str(row["setup"]).partition(": ")
        if row["what"] == f"prediction, {what}" and cluster == XEON.name:
            nodes = int(row["workers"]) // XEON.workers_per_node
            found.setdefault(setup.partition(" (")[0], {})[nodes] = row
    return found


def _weak(rows: list[Row]) -> str:
    published = XEON.published[TALK_NODES * XEON.workers_per_node]
    head = ("nodes", *map(str, SHOWN_NODES), f"at {TALK_NODES}: against {100 * published:.0f} %")
    return table(
        head,
        (
            (
                setup,
                *(_percent(mine[n]["efficiency"]) for n in SHOWN_NODES),
                _signed(mine[TALK_NODES]["error_%"]),
            )
            for setup, mine in _predicted(rows, "weak scaling").items()
        ),
    )


def _parts(rows: list[Row]) -> str:
    parts = ("compute_ms", "waiting_ms", "communication_ms")
    return table(
        ("ms", "compute", "waiting", "communication"),
        (
            (setup, *(_ms(mine[TALK_NODES][part]) for part in parts))
            for setup, mine in _predicted(rows, "weak scaling").items()
        ),
    )


def _strong(rows: list[Row]) -> str:
    return table(
        ("nodes", *map(str, SHOWN_NODES)),
        (
            (setup, *(_percent(mine[n]["efficiency"]) for n in SHOWN_NODES))
            for setup, mine in _predicted(rows, f"strong scaling, {GLOBAL_BATCH}").items()
        ),
    )


def _assumed(rows: list[Row]) -> str:
    """Tell what went into the predictions, as far as the rows know it."""
    row = _predicted(rows, "weak scaling")[f"3dgan, {TRAINED}"][TALK_NODES]
    compute_ms = float(row["compute_ms"])
    spread = float(row["waiting_ms"]) / slowest_normal_s(0, 1, int(row["workers"])) / compute_ms
    loopback = next(
        str(row["setup"]).partition("gloo adds ")[2].partition(";")[0]
        for row in rows
        if row["what"] == "calibration" and str(row["setup"]).startswith("loopback")
    )
    return table(
        ("", "value", "from"),
        (
            (
                "a step of 8 showers on one of 4 workers of a node",
                f"{compute_ms:,.0f} ms",
                "the talk: under a minute an epoch of 180,000 showers on 128 nodes, an upper limit",
            ),
            (
                "spread between ranks",
                f"{100 * spread:.1f} % of a step",
                "measured here, between two ranks",
            ),
            ("what gloo adds to the wire", loopback, "measured here, loopback"),
        ),
    )


def _gpus(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        cluster, _, setup = str(row["setup"]).partition(": ")
        if row["what"] == "prediction, weak scaling" and cluster != XEON.name:
            published = setup.partition("(published ")[2].rstrip(")")
            lines.append(
                (
                    cluster,
                    row["workers"],
                    "no" if "no spread" in setup else "as here",
                    _percent(row["efficiency"]),
                    _percent(published),
                    _signed(row["error_%"]),
                )
            )
    return table(("cluster", "GPUs", "spread between ranks", "predicted", "published", "error"), lines)


Tables = Mapping[str, tuple[str, Callable[[list[Row]], str]]]
"""Tables by name: a title, and what makes it."""

TABLES: Tables = {
    "steps": ("Steps on these cores", _steps),
    "latencies": ("Latencies that an all-reduce costs, 65,536 bytes", _latencies),
    "calibration": ("The model of all-reduces against measurements", _calibration),
    "messages": ("Gradients of critic and generator between emulated hosts", _messages),
    "assumed": ("What goes into the predictions", _assumed),
    "weak": ("Predicted: weak scaling on the talk's Xeon nodes, 8 showers a worker", _weak),
    "parts": (f"Predicted: where a step's time goes on {TALK_NODES} nodes", _parts),
    "strong": (f"Predicted: strong scaling, {GLOBAL_BATCH:,} showers a step", _strong),
    "gpus": ("Predicted: GPUs", _gpus),
}


def summary(rows: list[Row]) -> str:
    """Return all tables but the longest as Markdown."""
    return "\n\n".join(
        f"{title}\n\n{make(rows)}" for name, (title, make) in TABLES.items() if name != "messages"
    )


def fill(text: str, result: Mapping[str, Any], tables: Tables = TABLES) -> str:
    """Put what a result file says where a document names it: the tables, and ``run``, how they came about."""
    machine, rows = result["machine"], result["rows"]
    run = (
        f"{result['date']}, {machine['cpu']}, {machine['cores']} cores, torch "
        f"{result['versions']['torch']}, seed {result['seed']}."
    )
    found = {"run": run, **{name: make(rows) for name, (_, make) in tables.items()}}

    def replaced(block: re.Match[str]) -> str:
        return f"<!-- {block[1]} -->\n\n{found[block[1]]}\n\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(found)}) -->.*?<!-- end -->", replaced, text, flags=re.DOTALL)


if __name__ == "__main__":
    document = Path(sys.argv[2])
    measured = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_text(document, fill(document.read_text(encoding="utf-8"), measured))
