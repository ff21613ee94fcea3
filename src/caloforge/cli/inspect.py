"""``caloforge inspect``: what is in a file, and is it whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress

EXAMPLES = ("caloforge inspect showers.h5", "caloforge inspect showers.h5 --json")


def run(
    file: Annotated[Path, typer.Argument(help="A shower file.", metavar="FILE")],
    json: Json = False,
) -> None:
    """Show shapes, units, ranges, occupancy and provenance of a shower file, and check every value."""
    from caloforge.files.summary import summarize

    with progress("inspect", "showers") as report:
        summary = summarize(file, report)
    print_result(summary, as_json=json)
