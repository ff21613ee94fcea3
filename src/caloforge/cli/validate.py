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
    from caloforge.report.page.content import Report

COMMAND = MultiValueLabels

EXAMPLES = (
    "caloforge validate showers.h5 generated.h5 -o report --labels Geant4 3DGAN",
    "caloforge validate showers.h5 generated.h5 -o copies --training showers.h5",
    "caloforge validate showers.h5 generated.h5 like.h5 -o both --only numbers",
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
        bool, typer.Option("--require", help="Exit with code 1 if a requirement is failed.")
    ] = False,
    require_decided: Annotated[
        bool,
        typer.Option("--require-decided", help="Exit with code 1 if one is failed or undecided."),
    ] = False,
    training: Annotated[
        list[Path] | None,
        typer.Option(
            "--training", help="Showers the candidate was trained on, to find copies.", metavar="FILE"
        ),
    ] = None,
    only: Annotated[
        Literal["numbers"] | None,
        typer.Option("--only", help="Draw nothing: verdict, tables and metrics.json."),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(
            "--card",
            help="Keep the verdict in this run folder: generate warns where the model failed.",
            metavar="RUN",
        ),
    ] = None,
    protocol: Annotated[
        Literal["calochallenge"] | None,
        typer.Option(
            "--protocol",
            help="Add a published protocol's classifiers and distances; an hour for thousands of showers.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare showers with a reference: a verdict, numbers, and every plot in one page."""
    from caloforge.models.verdict import add_verdict
    from caloforge.report.validate import command_of, validate

    if card is not None:
        _check_card(card, candidates)
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
            only=only,
            protocol=protocol,
            workers=len(os.sched_getaffinity(0)),
            command=this_command(),
            progress=callback,
        )
    if card is not None:
        add_verdict(card, reference.name, report.metrics[0])
    page = output / "report.html"
    if json:
        print_result({**report.numbers, "report": str(page)}, as_json=True)
    else:
        print_report(report)
        show(page)
    counts = {state: report.count(state) for state in ("failed", "undecided")}
    if (require and counts["failed"]) or (require_decided and any(counts.values())):
        listed = ", ".join(f"{count} {state}" for state, count in counts.items())
        raise CaloforgeError(f"{page}: requirements: {listed}")


def _check_card(card: Path, candidates: list[Path]) -> None:
    """Refuse a folder whose model did not make the only candidate."""
    from caloforge.files.shower_file import ShowerFile
    from caloforge.models.saved import read_card

    if len(candidates) != 1:
        raise UsageError(f"--card: expected one candidate, got {len(candidates)}")
    known = read_card(card)
    with ShowerFile(candidates[0]) as file:
        told = {name: file.provenance.get(name) for name in ("model", "training_data")}
    if told != {"model": known.name, "training_data": dict(known.training_data)}:
        raise UsageError(f"--card {card}: {candidates[0]} was not generated by this model")


def print_report(report: Report) -> None:
    """Print the verdict that a report opens with."""
    from caloforge.comparison.key_metrics import with_error
    from caloforge.comparison.requirements import STATES
    from caloforge.report.page.verdict import deciding, headline

    for index, (label, metrics) in enumerate(zip(report.labels[1:], report.metrics, strict=True)):
        rows = [
            (
                judgement.state,
                judgement.title,
                with_error(judgement.worst.value, judgement.worst.error),
                judgement.requirement.text(judgement.worst.limit),
                judgement.worst.where,
            )
            for judgement in sorted(
                report.verdicts[index], key=lambda it: STATES.index(it.state), reverse=True
            )
        ]
        title = f"{label}: {metrics['n_candidate']} showers against {metrics['n_reference']}"
        print_table(title, ("State", "Requirement", "Value", "Limit", "Worst at"), rows)
        print(headline(report.verdicts[index]))
        for line in deciding(report, index):
            print(line)
