"""``caloforge validate``: how far can these showers be trusted?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caloforge.cli.console import Json, print_result, print_table, progress

if TYPE_CHECKING:
    from caloforge.physics.comparison import Metrics

EXAMPLES = ("caloforge validate showers.h5 generated.h5 -o report --labels Geant4 3DGAN",)


def run(
    reference: Annotated[
        Path, typer.Argument(help="Showers to compare with: Geant4's.", metavar="REFERENCE.h5")
    ],
    candidate: Annotated[Path, typer.Argument(help="Showers to judge.", metavar="CANDIDATE.h5")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the report.", metavar="REPORT")
    ],
    labels: Annotated[
        tuple[str, str] | None,
        typer.Option("--labels", help="Names of reference and candidate in the report.", metavar="A B"),
    ] = None,
    json: Json = False,
) -> None:
    """Compare showers with a reference: report.html with plots, and metrics.json."""
    from caloforge.physics.validate import validate

    with progress("validate", "%") as callback:
        metrics = validate(
            reference,
            candidate,
            output,
            labels=labels,
            workers=len(os.sched_getaffinity(0)),
            progress=callback,
        )
    report = output / "report.html"
    if json:
        print_result({**metrics, "report": str(report)}, as_json=True)
        return
    print_metrics(metrics)
    print(report)


def print_metrics(metrics: Metrics) -> None:
    """Print the numbers that a report opens with."""
    from caloforge.physics.headlines import headlines, with_error

    rows = [
        (
            line.title,
            with_error(line.value, line.error),
            f"{line.perfect:g}",
            "" if line.floor is None else f"{line.floor:.2g}",
        )
        for line in headlines(metrics)
    ]
    print_table(
        f"{metrics['n_candidate']} showers against {metrics['n_reference']}",
        ("Quantity", "Value", "If perfect", "Same source"),
        rows,
    )
