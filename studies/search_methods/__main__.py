"""``python -m studies.search_methods``: measure, and write the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studies.search_methods import comparison


def run(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.json", help="All numbers.")],
    minutes: Annotated[float, typer.Option(min=0.01, help="About how long to measure.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 1,
) -> None:
    """Measure for some minutes and write the rows of the result."""
    from datetime import UTC, datetime

    from caloforge.bench.machine import describe_machine, package_versions
    from caloforge.cli.console import progress
    from caloforge.foundations.durable import check_output_path, write_json

    check_output_path(output)
    with progress("search_methods", "steps") as report:
        rows = comparison.measure(minutes * 60, seed, report)
    write_json(
        output,
        {
            "study": "search_methods",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "machine": describe_machine(),
            "versions": package_versions(),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    typer.run(run)
