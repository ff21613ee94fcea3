"""``python -m studies.scaling``: how training scales, measured here and predicted for 1 to 256 nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from caloforge.cli.console import print_table, progress
from studies.command import check_result_path, provenance, start, write_result

MODULE = "studies.scaling"
HERE = Path(__file__).parent
STEPS = ("measure", "latencies", "predict", "figure")

EXAMPLES = (
    f"python -m {MODULE} --minutes 5",
    f"python -m {MODULE} predict figure",
)


def run(
    steps: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[measure] [latencies] [predict] [figure]",
            help="All, or some: latencies has a result file of its own, and predict takes up FILE.json.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.json", help="All numbers.")
    ] = HERE / "result.json",
    figure: Annotated[Path, typer.Option("--figure", metavar="FILE.png")] = HERE / "figure.png",
    minutes: Annotated[float, typer.Option(min=0.001, help="About how long to measure.")] = 5.0,
    hosts: Annotated[
        int, typer.Option(min=2, max=250, help="Emulated hosts between which latencies are counted.")
    ] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 1,
) -> None:
    """Measure steps and sums on this machine and on emulated hosts, predict clusters, and draw both."""
    from caloforge.foundations.errors import UsageError
    from studies.scaling.measure import count_latencies, measure
    from studies.scaling.predictions import predictions
    from studies.scaling.tables import TABLES

    chosen = steps or STEPS
    for step in chosen:
        if step not in STEPS:
            raise UsageError(f"{MODULE}: expected {', '.join(STEPS)}, got {step!r}")
    check_result_path(output, "scaling")
    shown: dict[str, Any] = {}
    if "latencies" in chosen:
        counted = {**provenance(MODULE, ["latencies"], {"hosts": hosts}), **count_latencies(hosts)}
        write_result(output.with_name(f"{output.stem}-latencies.json"), counted)
        shown |= counted
    if {*chosen} - {"latencies"}:
        if "measure" in chosen:
            with progress("scaling", "parts") as report:
                measured = measure(minutes * 60, seed, report)
            result = {**provenance(MODULE, [], {"minutes": minutes, "seed": seed}), **measured}
        else:
            result = _read(output)
        result |= predictions(result["inputs"])
        write_result(output, result)
        shown |= result
        if "figure" in chosen:
            from studies.scaling.figure import draw

            draw(figure, result)
    for name, (title, table) in TABLES.items():
        if ("latencies" if name == "latencies" else "inputs") in shown:
            print_table(title, *table(shown))
    for reason in shown.get("skipped", ()):
        typer.echo(f"not measured: {reason}")


def _read(path: Path) -> dict[str, Any]:
    from caloforge.foundations.errors import UsageError
    from caloforge.foundations.texts import read_json

    if not path.is_file():
        raise UsageError(f"{path}: no such file; `python -m {MODULE} measure` writes it")
    return read_json(path)


if __name__ == "__main__":
    start(run, MODULE, EXAMPLES)
