"""What every command shows the same way: progress, tables and machine-readable results."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from caloforge.foundations.errors import INTERRUPTED, CaloforgeError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.ranks import Ranks
from caloforge.foundations.texts import printable
from caloforge.foundations.units import DEGREE, Spectrum

__all__ = [
    "Json",
    "digits",
    "print_result",
    "print_table",
    "progress",
    "progress_of",
    "say",
    "show",
    "span",
    "took",
    "warn_of_radians",
]

Json = Annotated[bool, typer.Option("--json", help="Print results as JSON on stdout.")]

PLAIN_LINE_EVERY_S = 10.0

BAR = 12
"""Characters of a bar: the words beside it say more."""

FLAT = 5 * DEGREE
"""Angles to the face below which hardly anybody wants a shower; pi, in degrees, is below it too."""


def say(text: str) -> None:
    """Tell the user something in one line on stderr, so that stdout holds results alone."""
    with suppress(OSError):  # nobody listens any more: that must not end the work
        print(printable(text), file=sys.stderr, flush=True)


def show(result: object) -> None:
    """Print a result, such as a path, in one line on stdout."""
    print(printable(str(result)))


def print_result(
    result: Mapping[str, Any], title: str = "", rows: Iterable[tuple[str, str]] = (), *, as_json: bool
) -> None:
    """Print a result: as one JSON object for machines, or as a title with named ``rows`` below for people."""
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    named = list(rows)
    width = max((len(name) for name, _ in named), default=0)
    show(title)
    for name, text in named:
        show(f"  {name:<{width}}  {text}")


def digits(value: float) -> str:
    """Write a number with three digits, as people do: ``1,234``, ``12.3``, ``0.00123``."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e15 else f"{value:.3g}"


def span(low: float, high: float, unit: str) -> str:
    """Write a range with its unit, or the one value that it is: ``10 to 500 GeV``, ``90 degrees``."""
    first, last = digits(low), digits(high)
    return f"{first} {unit}" if first == last else f"{first} to {last} {unit}"


def took(seconds: float, done: int, unit: str = "showers") -> str:
    """Say how long so many units took: ``12.3 s, 81.3 showers/s``."""
    return f"{digits(seconds)} s, {digits(done / max(seconds, 1e-9))} {unit}/s"


def warn_of_radians(theta: Spectrum) -> None:
    """Warn where all angles are so flat that most likely they were meant in radians."""
    if theta.high < FLAT:
        angles = span(theta.low / DEGREE, theta.high / DEGREE, "degrees")
        say(f"warning: --theta: {angles} to the face, which looks like radians; expected degrees")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; numbers are aligned right."""
    # As Text, in which nothing is markup: names of files and samples may hold brackets.
    table = Table(title=Text(printable(title), "table.title"), title_justify="left")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        table.add_column(Text(printable(column)), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(printable(_cell(cell))) for cell in row))
    Console().print(table)


def _cell(cell: object) -> str:
    if isinstance(cell, int) or (isinstance(cell, float) and 999.95 <= abs(cell) < 1e15):
        return f"{cell:,.0f}"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


@contextmanager
def progress(what: str, unit: str) -> Iterator[Progress]:
    """Return a callback that draws a bar on a terminal, and prints plain lines elsewhere.

    Both show the rate in ``unit`` per second, the time so far and the time left; they go to stderr.
    """
    with (_bar if sys.stderr.isatty() else _plain_lines)(what, unit) as callback:
        yield callback


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
    console = Console(stderr=True)
    pace = _Pace(unit, max(1, console.width - len(what) - BAR - 2))
    columns = (TextColumn("{task.description}", markup=False), BarColumn(BAR), pace)
    with RichProgress(*columns, console=console, refresh_per_second=5) as bar:
        task = bar.add_task(what, total=None)

        def callback(done: int, total: int, **figures: float | str) -> None:
            pace.see(done, total, figures)
            bar.update(task, completed=done, total=total)

        yield callback


@contextmanager
def _plain_lines(what: str, unit: str) -> Iterator[Progress]:
    pace = _Pace(unit)
    said = time.monotonic()  # what fails at once says only why

    def callback(done: int, total: int, **figures: float | str) -> None:
        nonlocal said
        pace.see(done, total, figures)
        if done >= total or pace.seen - said >= PLAIN_LINE_EVERY_S:
            said = pace.seen
            say(f"{what}: {pace}")

    yield callback


class _Pace(ProgressColumn):
    """How far work is, in words: ``12/40  30 %  1.3 showers/s  elapsed 0:10, left 0:23``."""

    def __init__(self, unit: str, width: int | None = None) -> None:
        super().__init__(Column(no_wrap=True, max_width=width))
        self.unit, self.done, self.total = unit, 0, 0
        self.first: tuple[int, float] | None = None
        """What was done when the work itself began, after all that comes before, and when that was."""
        self.figures: Mapping[str, float | str] = {}
        self.started = self.seen = time.monotonic()

    def see(self, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        """Note what :class:`~caloforge.foundations.progress.Progress` is told."""
        self.done, self.total, self.figures, self.seen = done, total, figures, time.monotonic()
        self.first = self.first or (done, self.seen)

    def __str__(self) -> str:
        now, parts = time.monotonic(), list[str]()
        if self.total:
            counted = [] if self.unit == "%" else [f"{self.done}/{self.total}"]
            parts += [*counted, f"{100 * self.done // self.total} %"]
        first, began = self.first or (0, self.started)
        rate = (self.done - first) / max(self.seen - began, 1e-9)
        if rate > 0 and self.unit != "%":
            parts.append(f"{digits(rate)} {self.unit}/s")
        elapsed = f"elapsed {_clock(now - self.started)}"
        if rate > 0 and self.done < self.total:
            elapsed += f", left {_clock(max(0.0, self.seen + (self.total - self.done) / rate - now))}"
        texts = [
            figure if isinstance(figure, str) else f"{name}={digits(figure)}"
            for name, figure in self.figures.items()
        ]
        return "  ".join([*parts, elapsed, *texts])

    def render(self, task: Task) -> Text:  # noqa: ARG002
        """Return the words for the bar."""
        return Text(str(self))


def _clock(seconds: float) -> str:
    """Write a time as ``0:10`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
