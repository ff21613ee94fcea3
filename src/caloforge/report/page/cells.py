"""Tables as the page shows them: columns, and rows of cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from caloforge.comparison.requirements import State

__all__ = ["MARKS", "Cell", "Column", "Table", "number"]

MARKS: dict[State, str] = {"met": "✓", "undecided": "?", "failed": "✗"}
"""Signs that tell a state apart without colour; words stand beside them where there is room."""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: ``text`` after a state's mark, ``code`` and further ``lines`` below.

    ``value`` is what the column is sorted by; without one the text is.
    """

    text: str
    value: float | None = None
    state: State | None = None
    code: str = ""
    lines: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """The sign of the state."""
        return MARKS[self.state] if self.state else ""


@dataclass(frozen=True)
class Column:
    """A column's title, how its cells are set, and the title that it shares with its neighbours."""

    title: str
    kind: Literal["text", "short", "number", "long"] = "number"
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it. Columns without any content are left out."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sortable: bool = True

    @classmethod
    def of(
        cls,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Sequence[Cell]],
        *,
        sortable: bool = True,
    ) -> Table:
        """Make a table without its empty columns."""
        rows = [tuple(row) for row in rows]
        used = [
            i for i in range(len(columns)) if any(r[i].text or r[i].lines or r[i].state for r in rows)
        ]
        return cls(
            title,
            tuple(columns[i] for i in used),
            tuple(tuple(row[i] for i in used) for row in rows),
            sortable,
        )

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Shared titles with the number of their columns; none if no column has one."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return tuple(found) if len(found) > 1 else ()


def number(text: str, value: float | None, state: State | None = None) -> Cell:
    """Make a cell of a number that may be undefined; an undefined one is sorted last."""
    return Cell(text, value if value is not None and math.isfinite(value) else math.inf, state)
