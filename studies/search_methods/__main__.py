"""``python -m studies.search_methods``: how good a network does each method of search find?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress
from studies.command import check_result_path, provenance, start, write_result

MODULE = "studies.search_methods"

EXAMPLES = (
    f"python -m {MODULE} --seeds 4 --core-seconds 60 -o result.json --figure figure.png",
    f"python -m {MODULE} --seeds 1 --core-seconds 1 --each 0.1",
)


def run(
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Searches by each method.")] = 4,
    core_seconds: Annotated[
        float, typer.Option("--core-seconds", min=0.1, help="Processor time of a search.")
    ] = 60.0,
    each: Annotated[
        float, typer.Option("--each", min=0.01, help="Of it, for the training of a trial.")
    ] = 1.0,
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
    """Compare the methods of ``caloforge search`` at equal core-seconds, on the package's showers."""
    from caloforge.foundations.durable import check_output_path
    from studies.search_methods import comparison

    if output is not None:
        check_result_path(output, "search_methods")
    if figure is not None:
        check_output_path(figure)
    request = comparison.Request(seeds, core_seconds, each)
    with TemporaryDirectory(prefix="caloforge-search-methods-") as passing:
        folder = Path(passing) / "runs" if output is None else Path(f"{output}.runs")
        with progress("search methods", "searches") as report:
            rows = comparison.measure(request, folder, report)
        options = {"seeds": seeds, "core-seconds": core_seconds, "each": each}
        result = {**provenance(MODULE, [], options), "seeds": seeds, "rows": rows}
        if output is not None:
            write_result(output, result)
        request.queue(folder).finish()
    if figure is not None:
        comparison.draw(figure, rows)
    if json:
        print_result(result, as_json=True)
    else:
        print(comparison.summary(rows))


if __name__ == "__main__":
    start(run, MODULE, EXAMPLES)
