"""``python -m studies.evolution NAME``: the genetic algorithm of the CERN openlab talk, its findings repeated."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress

EXAMPLES = (
    "python -m studies.evolution rmsprop --data showers.h5 --evaluations 2000 --seeds 3 -o rmsprop.json --figure rmsprop.png",
    "python -m studies.evolution offspring --data showers.h5 --evaluations 1000 --seeds 1 --workers 2",
)


class StudyName(StrEnum):
    """The studies; each is an entry of :data:`studies.evolution.studies.STUDIES`."""

    batch_size = "batch-size"
    updates = "updates"
    offspring = "offspring"
    bias = "bias"
    crossover = "crossover"
    rmsprop = "rmsprop"
    hybrid = "hybrid"
    architecture = "architecture"
    encoding = "encoding"
    asynchronous = "asynchronous"
    gan = "gan"


def run(
    study: Annotated[StudyName, typer.Argument(help="What to compare.")],
    data: Annotated[Path, typer.Option("--data", metavar="FILE.h5", help="Showers to learn from.")],
    test: Annotated[
        Path | None,
        typer.Option(
            "--test",
            metavar="FILE.h5",
            help="Showers for the quoted numbers; a fifth of --data if not given.",
        ),
    ] = None,
    evaluations: Annotated[
        float | None,
        typer.Option(
            "--evaluations",
            min=100,
            help="Budget of a run: showers through the default network; the study's own if not given.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Runs of each way.")] = 5,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, help="Processes that share the runs.")
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.json",
            help="All numbers; a killed study goes on from FILE.json.runs.",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw the comparison.")
    ] = None,
    json: Json = False,
) -> None:
    """Repeat a finding of the talk on evolution at equal cost, and say whether these data confirm it."""
    from caloforge.bench.machine import describe_machine, package_versions
    from caloforge.foundations.durable import check_output_path, write_json
    from studies.evolution.regression_arms import Files
    from studies.evolution.studies import STUDIES
    from studies.evolution.study_runs import Request, run_study
    from studies.evolution.study_summary import summarise
    from studies.evolution.study_table import as_markdown

    for path in (output, figure):
        if path is not None:
            check_output_path(path, data, *([test] if test else []))
    if figure is not None:
        from studies.evolution.study_figure import draw_study
    what = STUDIES[study.value]
    request = Request(study.value, Files(data, test), evaluations or what.evaluations, seeds)
    with TemporaryDirectory(prefix="caloforge-evolve-") as passing:
        folder = Path(passing) / "runs" if output is None else Path(f"{output}.runs")
        with progress(f"evolve {study.value}", "%") as report:
            runs = run_study(request, folder, workers=workers, progress=report)
    summary = summarise(what, runs)
    result = {
        "study": study.value,
        "question": what.question,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": str(data),
        "test": None if test is None else str(test),
        "evaluations": request.evaluations,
        "seeds": seeds,
        "figures": what.figures,
        "machine": describe_machine(),
        "versions": package_versions(),
        **summary,
        "runs": runs,
    }
    if figure is not None:
        draw_study(figure, what.question, runs, what.figures[0])
    if output is not None:
        write_json(output, result)
        shutil.rmtree(folder)  # not before its numbers have their place
    if json:
        print_result(result, as_json=True)
        return
    print(as_markdown(result))


if __name__ == "__main__":
    typer.run(run)
