"""``python -m studies.verdict_power``: what does the verdict of ``caloforge validate`` find?"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from caloforge.cli.console import Json, print_result, progress
from studies.command import check_result_path, provenance, start, write_result

MODULE = "studies.verdict_power"

EXAMPLES = (
    f"python -m {MODULE} a.h5 b.h5 -o result.json --figure figure.png",
    f"python -m {MODULE} --repetitions 2",
)

SIZES = (400, 2000, 10_000)
"""Showers a side for which the smallest distortion is told that would be found."""


def run(
    showers: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE.h5...", help="Geant4 showers; those of the package if not given."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which half is distorted, and how.")] = 1,
    repetitions: Annotated[
        int, typer.Option("--repetitions", min=1, help="Judge Geant4 against itself so often.")
    ] = 40,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="All numbers.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw the result.")
    ] = None,
    json: Json = False,
) -> None:
    """Judge known distortions of Geant4 showers, and Geant4 against itself, by the usual requirements."""
    from caloforge.files.shipped import shipped_showers
    from caloforge.foundations.durable import check_output_path
    from caloforge.report.validate import DEFAULT_THRESHOLD_MEV
    from studies.verdict_power.figure import draw
    from studies.verdict_power.measure import measure, read_pool, repeat
    from studies.verdict_power.table import table

    paths = showers or [shipped_showers("train"), shipped_showers("test")]
    if output is not None:
        check_result_path(output, "verdict_power", *paths)
    if figure is not None:
        check_output_path(figure, *paths)
    pool = read_pool(paths)
    threshold = pool.grid.threshold_MeV or DEFAULT_THRESHOLD_MEV
    half = len(pool) // 2
    with TemporaryDirectory(prefix="caloforge-verdict-power-") as passing:
        shared: dict[str, Any] = {"seed": seed, "folder": Path(passing), "threshold_MeV": threshold}
        with progress("distortions", "distortions") as report:
            rows = list(measure(pool, SIZES, **shared, progress=report))
        itself = []
        for n in sorted({min(size, half) for size in SIZES}):
            with progress(f"Geant4 against itself, {n} showers a side", "times") as report:
                itself.append(repeat(pool, n, repetitions, **shared, progress=report))
    options = {"seed": seed, "repetitions": repetitions}
    result = {
        **provenance(MODULE, [path.name for path in paths], options),
        "showers": half,
        "rows": rows,
        "itself": itself,
    }
    if output is not None:
        write_result(output, result)
    if figure is not None:
        draw(figure, result)
    if json:
        print_result(result, as_json=True)
    else:
        print(table(result))


if __name__ == "__main__":
    start(run, MODULE, EXAMPLES)
