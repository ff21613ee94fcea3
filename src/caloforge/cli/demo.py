"""``caloforge demo``: the whole chain, from Geant4 to a report, on showers of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress, say, show
from caloforge.cli.outputs import Overwrite
from caloforge.cli.validate import print_report

EXAMPLES = ("caloforge demo --minutes 3",)


def run(
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="How long to train at most.")
    ] = 4.0,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for all that is made.", metavar="DIR")
    ] = Path("demo"),
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run the whole chain once: simulate, train a pretrained model further, generate, validate."""
    from caloforge.demo import demo

    report = demo(output, minutes=minutes, overwrite=overwrite, progress=progress, say=say)
    page = output / "report" / "report.html"
    if json:
        print_result({**report.numbers, "report": str(page)}, as_json=True)
        return
    print_report(report)
    show(page)
