"""``caloforge validate``: how far can these showers be trusted?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from caloforge.cli.console import Json, print_result, print_table, progress, show
from caloforge.cli.multi_value_options import MultiValueLabels
from caloforge.cli.outputs import Overwrite, this_command
from caloforge.foundations.errors import CaloforgeError, UsageError

if TYPE_CHECKING:
    from caloforge.comparison.requirements import Judgement
    from caloforge.report.page.content import Report

COMMAND = MultiValueLabels

EXAMPLES = (
    "caloforge validate showers.h5 generated.h5 -o report --labels Geant4 3DGAN",
    "caloforge validate showers.h5 generated.h5 -o copies --training showers.h5",
    "caloforge validate showers.h5 generated.h5 like.h5 -o both --quick",
    "caloforge validate showers.h5 generated.h5 -o published --protocol calochallenge",
)


def run(
    reference: Annotated[
        Path, typer.Argument(help="Showers to compare with: Geant4's.", metavar="REFERENCE.h5")
    ],
    candidates: Annotated[
        list[Path],
        typer.Argument(help="Showers to judge: one file, or several.", metavar="CANDIDATE.h5..."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the report.", metavar="REPORT")
    ],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels", help="Names of reference and candidates in the report.", metavar="A B..."
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements", help="Requirements in YAML, instead of the usual.", metavar="FILE"
        ),
    ] = None,
    require: Annotated[
        bool, typer.Option("--require", help="Fail (exit code 1) unless every requirement is met.")
    ] = False,
    training: Annotated[
        list[Path] | None,
        typer.Option(
            "--training", help="Showers the candidate was trained on, to find copies.", metavar="FILE"
        ),
    ] = None,
    protocol: Annotated[
        Literal["calochallenge"] | None,
        typer.Option(
            "--protocol",
            help="Add a published protocol's classifiers and distances; an hour for thousands of showers.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="No classifiers, no distances, no search for copies.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare showers with a reference: a verdict, numbers, and more than 300 plots in one page."""
    from caloforge.report.validate import command_of, validate

    made_by = command_of(output)
    if made_by not in (None, this_command()) and not overwrite:
        raise UsageError(f"{output}: another command made this report; --overwrite replaces it")
    with progress("validate", "%") as callback:
        report = validate(
            reference,
            candidates,
            output,
            labels=labels or None,
            requirements=requirements,
            training=training or (),
            protocol=protocol,
            quick=quick,
            workers=len(os.sched_getaffinity(0)),
            command=this_command(),
            progress=callback,
        )
    page = output / "report.html"
    if json:
        print_result({**report.numbers, "report": str(page)}, as_json=True)
    else:
        print_report(report)
        show(page)
    if require and not report.holds:
        failing = sum(not judgement.holds for verdict in report.verdicts for judgement in verdict)
        raise CaloforgeError(f"{page}: requirements not met: {failing}")


def _verdict(judgement: Judgement) -> str:
    """Say the status, and in how many bins of energy it fails."""
    failing, bins = len(judgement.failing), len(judgement.bins)
    where = (
        f" in {failing} of {bins} energy bins"
        if failing and judgement.overall.status != "not met"
        else ""
    )
    return judgement.status + where


def print_report(report: Report) -> None:
    """Print the verdict that a report opens with."""
    from caloforge.comparison.key_metrics import with_error

    for label, metrics, verdict in zip(report.labels[1:], report.metrics, report.verdicts, strict=True):
        rows = [
            (
                judgement.title,
                judgement.requirement.text(),
                with_error(judgement.overall.value, judgement.overall.error),
                _verdict(judgement),
            )
            for judgement in verdict
        ]
        title = f"{label}: {metrics['n_candidate']} showers against {metrics['n_reference']}"
        print_table(title, ("Requirement", "Limit", "Value", "Verdict"), rows)
