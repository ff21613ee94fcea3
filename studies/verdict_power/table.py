"""The study's tables, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["first_finder", "table"]

Row = Mapping[str, Any]


def table(result: Mapping[str, Any]) -> str:
    """Write what was found, and how small it may be, and how often Geant4 fails against itself."""
    return "\n".join((*_found(result["rows"]), "", *_itself(result["itself"])))


def first_finder(row: Row, size: str) -> tuple[str, float] | None:
    """Return which requirement finds the smallest distortion in samples of this size, and how small."""
    found = row["smallest"][size]
    return min(found.items(), key=lambda item: item[1]) if found else None


def _found(rows: Sequence[Row]) -> Iterator[str]:
    sizes = list(rows[0]["smallest"])
    titles = [f"{int(size):,}" for size in sizes]
    yield f"| distortion | size | found first by | {' | '.join(f'smallest, {t} a side' for t in titles)} |"
    yield "|---|---|---|" + "---:|" * len(sizes)
    for row in rows:
        finders = [first_finder(row, size) for size in sizes]
        last = finders[-1]
        cells = ["" if f is None else _percent(f[1]) for f in finders]
        name = "nothing" if last is None else last[0]
        yield f"| {row['title']} | {_percent(row['size'])} {row['of']} | {name} | {' | '.join(cells)} |"


def _itself(rows: Sequence[Row]) -> Iterator[str]:
    yield "| Geant4 against itself, showers a side | repetitions | with a failure | requirements met | undecided |"
    yield "|---:|---:|---:|---:|---:|"
    for row in rows:
        mean = row["requirements"]
        yield (
            f"| {row['showers']:,} | {row['repetitions']} | {row['with_failure']} "
            f"| {mean['met']:.1f} | {mean['undecided']:.1f} |"
        )


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.0f} %" if percent > 99.5 else f"{percent:.2g} %"
