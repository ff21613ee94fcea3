"""The tables of docs/generation.md, from rows of ``caloforge bench generate``, which prints them.

``python -m caloforge.bench.generation_tables generate.json docs/generation.md`` fills them in.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from caloforge.bench import Row
from caloforge.foundations.durable import write_text
from studies.scaling.scaling_tables import Tables, fill, table

__all__ = ["TABLES", "summary"]


def _roofline(rows: list[Row]) -> str:
    lines: list[tuple[object, ...]] = [
        (f"machine, {row['threads']} {_threads(row)}", "", "", row["GFLOP/s"], row["GB/s"], "")
        for row in rows
        if row["way"] == "machine"
    ]
    lines += [
        (
            f"{row['way']}, {row['engine']}, batch {row['batch']:,}",
            row["MFLOP"],
            row["kB"],
            row["GFLOP/s"],
            row["GB/s"],
            row["x_floor"],
        )
        for row in rows
        if row["x_floor"] != "" and (row["streams"], row["threads"]) == (1, 1)
    ]
    head = ("one stream, one thread", "MFLOP a shower", "kB a shower", "GFLOP/s", "GB/s", "time / floor")
    return table(head, lines)


def _threads(row: Row) -> str:
    return "thread" if row["threads"] == 1 else "threads"


def _times(rows: list[Row]) -> str:
    head = (
        "", "engine", "batch", "streams", "threads each", "ms a shower", "to a file", "floor", "time / floor",
        "x Geant4, a core", "x Keras 3DGAN",
    )  # fmt: skip
    columns = (
        "way", "engine", "batch", "streams", "threads", "ms/shower", "file ms", "floor ms", "x_floor", "x_geant4",
        "x_keras",
    )  # fmt: skip
    return table(
        head,
        ([_text(row[column]) for column in columns] for row in rows if row["way"] != "machine"),
    )


def _text(value: str | float) -> str:
    large = isinstance(value, int | float) and value >= 1000
    return f"{value:,.0f}" if large else str(value)


TABLES: Tables = {
    "roofline": ("What a shower must cost, and what the engines reach", _roofline),
    "times": ("From conditions to showers", _times),
}


def summary(rows: list[Row]) -> str:
    """Return the tables as Markdown."""
    notes = (
        []
        if any("Keras" in str(row["engine"]) for row in rows)
        else ["Keras: not installed or not asked for."]
    )
    return "\n\n".join([*(f"{title}\n\n{make(rows)}" for title, make in TABLES.values()), *notes])


if __name__ == "__main__":
    document = Path(sys.argv[2])
    measured = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_text(document, fill(document.read_text(encoding="utf-8"), measured, TABLES))
