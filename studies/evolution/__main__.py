"""``python -m studies.evolution NAME``: the genetic algorithm of the CERN openlab talk, its findings repeated."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from caloforge.cli.console import Json, print_result, progress
from studies.command import check_result_path, provenance, start, write_result

MODULE = "studies.evolution"

EXAMPLES = (
    f"python -m {MODULE} rmsprop",
    f"python -m {MODULE} rmsprop --evaluations 20000 --seeds 4 -o rmsprop.json --figure rmsprop.png",
    f"python -m {MODULE} offspring --data showers.h5 --evaluations 1000 --seeds 3 --workers 2",
)


class FindingName(StrEnum):
    """The findings; each is an entry of :data:`studies.evolution.findings.FINDINGS`."""

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
    finding: Annotated[FindingName, typer.Argument(help="What to compare.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE.h5", help="Showers to learn from. [default: those of the package]"
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            "--test",
            metavar="FILE.h5",
            help="Showers for the quoted numbers. [default: a fifth of --data; with those of the package, "
            "their test part]",
        ),
    ] = None,
    evaluations: Annotated[
        float | None,
        typer.Option(
            "--evaluations",
            min=100,
            help="Budget of a run: showers through the default network. [default: the finding's own]",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Runs of each arm.")] = 5,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, help="Processes that share the runs.")
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.json",
            help="All numbers; what was killed goes on from FILE.json.runs.",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw the comparison.")
    ] = None,
    json: Json = False,
) -> None:
    """Repeat a finding of the talk on evolution at equal cost, and say whether these data confirm it."""
    from caloforge.files.shipped import shipped_showers
    from caloforge.foundations.durable import check_output_path
    from studies.evolution.findings import FINDINGS
    from studies.evolution.regression_arms import ShowerFiles
    from studies.evolution.runs import Request, remove_runs, run_finding
    from studies.evolution.table import as_markdown

    inputs = [path for path in (data, test) if path is not None]
    if output is not None:
        check_result_path(output, "evolution", *inputs)
    if figure is not None:
        check_output_path(figure, *inputs)
        from studies.evolution.figure import draw_finding
    files = (
        ShowerFiles(data, test)
        if data
        else ShowerFiles(shipped_showers("train"), test or shipped_showers("test"))
    )
    budget = evaluations or FINDINGS[finding.value].evaluations
    request = Request(finding.value, files, budget, seeds)
    with TemporaryDirectory(prefix="caloforge-evolution-") as passing:
        folder = Path(passing) / "runs" if output is None else Path(f"{output}.runs")
        with progress(finding.value, "%") as report:
            runs = run_finding(request, folder, workers=workers, progress=report)
        result = _result(request, runs, data, test)
        if output is not None:
            write_result(output, result)
        remove_runs(request, folder)  # not before the numbers have their place
    if figure is not None:
        draw_finding(figure, result)
    if json:
        print_result(result, as_json=True)
    else:
        print(as_markdown(result))


def _result(request: Any, runs: Any, data: Path | None, test: Path | None) -> dict[str, Any]:
    """Return all numbers of a finding."""
    from studies.evolution.findings import FINDINGS
    from studies.evolution.summary import summarise

    what = FINDINGS[request.finding]
    options = {
        "data": data,
        "test": test,
        "evaluations": f"{request.evaluations:.15g}",
        "seeds": request.seeds,
    }
    return {
        **provenance(MODULE, [request.finding], options),
        "finding": request.finding,
        "question": what.question,
        "evaluations": request.evaluations,
        "seeds": request.seeds,
        "columns": what.columns,
        **summarise(what, runs),
        "runs": runs,
    }


if __name__ == "__main__":
    start(run, MODULE, EXAMPLES)
