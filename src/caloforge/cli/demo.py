"""``caloforge demo``: the whole chain, from Geant4 to a report, on showers that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress, say
from caloforge.cli.validate import print_report

EXAMPLES = ("caloforge demo --minutes 3",)


def run(
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.01, help="How long to train at most.")
    ] = 4.0,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for all that is made.", metavar="DIR")
    ] = Path("demo"),
    json: Json = False,
) -> None:
    """Simulate, train pretrained weights further, generate and validate, on real Geant4 showers that ship."""
    from caloforge.demo import demo

    report = demo(out, minutes=minutes, progress=progress, say=say)
    page = out / "report" / "report.html"
    if json:
        print_result({**report.numbers, "report": str(page)}, as_json=True)
        return
    print_report(report)
    print(page)
