"""What every command shows the same way: progress, tables and machine-readable results."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

from caloforge.foundations.errors import INTERRUPTED, CaloforgeError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.ranks import Ranks

__all__ = ["Json", "print_result", "print_table", "progress", "progress_of", "say"]

Json = Annotated[bool, typer.Option("--json", help="Print results as JSON on stdout.")]

PLAIN_LINE_EVERY_S = 10.0


def say(text: str) -> None:
    """Tell the user something on stderr, so that stdout holds results alone."""
    print(text, file=sys.stderr, flush=True)


def print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print named results: one JSON object, or a line each."""
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    width = max(map(len, result), default=0)
    for name, value in result.items():
        text = json.dumps(value) if isinstance(value, Mapping | list | tuple) else str(value)
        print(f"{name:<{width}}  {text}")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; numbers are aligned right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)


@contextmanager
def progress(what: str, unit: str) -> Iterator[Progress]:
    """Return a callback that draws a bar on a terminal, and prints plain lines elsewhere.

    Both show the rate in ``unit`` per second and the time left; they go to stderr.
    """
    if sys.stderr.isatty():
        with _bar(what, unit) as callback:
            yield callback
    else:
        yield _plain_lines(what, unit)


@contextmanager
def progress_of(ranks: Ranks, what: str, unit: str) -> Iterator[Progress]:
    """Return :func:`progress` to the first rank; the others are silent, also when all are interrupted."""
    if ranks.leads:
        with progress(what, unit) as callback:
            yield callback
        return
    try:
        yield silent
    except (CaloforgeError, KeyboardInterrupt) as error:
        if getattr(error, "exit_code", INTERRUPTED) != INTERRUPTED:
            raise
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    first: int | None = None
    with RichProgress(*columns, console=Console(stderr=True), refresh_per_second=5) as bar:
        task = bar.add_task(what, total=None, figures="")

        def callback(done: int, total: int, **figures: float) -> None:
            nonlocal first
            first = done if first is None else first
            rate = (done - first) / max(time.monotonic() - started, 1e-9)
            text = " ".join([f"{rate:.3g} {unit}/s", *_texts(figures)])
            bar.update(task, completed=done, total=total, figures=text)

        yield callback


def _plain_lines(what: str, unit: str) -> Progress:
    started = last = time.monotonic()  # what fails at once says only why
    first: int | None = None

    def callback(done: int, total: int, **figures: float) -> None:
        nonlocal last, first
        first = done if first is None else first
        now = time.monotonic()
        if done < total and now - last < PLAIN_LINE_EVERY_S:
            return
        last = now
        rate = (done - first) / max(now - started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 and done < total else ""
        say(" ".join([f"{what}: {done}/{total}, {rate:.3g} {unit}/s{left}", *_texts(figures)]))

    return callback


def _texts(figures: Mapping[str, float]) -> list[str]:
    return [f"{name}={value:.4g}" for name, value in figures.items()]
