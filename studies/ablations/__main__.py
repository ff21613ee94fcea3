"""``python -m studies.ablations NAME``: compare designs at equal core-seconds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from caloforge.cli.console import Json, print_result, print_table, progress
from caloforge.cli.program import run_program
from caloforge.files.shipped import shipped_showers


class Name(StrEnum):
    """The ablations; each is an entry of :data:`studies.ablations.arms.ABLATIONS`."""

    filters = "filters"
    units = "units"
    designs = "designs"


ShowerPath = Annotated[
    Path | None, typer.Option(metavar="FILE.h5", help="Showers; those of the package if not given.")
]


def run(
    name: Annotated[Name, typer.Argument(help="What to compare.")],
    data: ShowerPath = None,
    test: ShowerPath = None,
    core: Annotated[
        str | None,
        typer.Option(metavar="CELLS", help="Their cells around the axis alone: 5x5x8 or 9x9x11."),
    ] = None,
    core_seconds: Annotated[
        float | None,
        typer.Option(min=1, help="Training of each network; the ablation's own if not given."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs of each network.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.json", help="All numbers; runs in it are kept."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="NETWORK", help="One of the networks alone.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the result.")] = None,
    json: Json = False,
) -> None:
    """Train each network for as many core-seconds and hold its showers against Geant4's."""
    from caloforge.foundations.durable import check_output_path
    from studies.ablations.arms import ABLATIONS
    from studies.ablations.figure import draw_ablation
    from studies.ablations.measure import Showers
    from studies.command import check_result_path

    given = Showers(data or shipped_showers("train"), test or shipped_showers("test"))
    if output is not None:
        check_result_path(output, f"ablations {name.value}", given.training, given.test)
    if figure is not None:
        check_output_path(figure, given.training, given.test)
    what = ABLATIONS[name.value]
    wanted = [(arm, seed) for seed in range(1, seeds + 1) for arm in what.arms if only in (None, arm)]
    result = _begun(output, name.value, given, core)
    done = {(row["arm"], row["seed"]) for row in result["runs"]}
    missing = [pair for pair in wanted if pair not in done]
    with (
        TemporaryDirectory(prefix="caloforge-ablations-") as folder,
        progress(f"ablations {name.value}", "networks") as report,
    ):
        if missing:
            showers = given.cut(core, Path(folder)) if core else given
            _run(result, missing, showers, core_seconds or what.core_seconds, output, report)
    if figure is not None:
        draw_ablation(figure, what, result["runs"])
    if json:
        print_result(result, as_json=True)
        return
    columns = ("arm", "seed", "steps", "core_s", *what.shown)
    print_table(what.question, columns, [[row.get(c, "") for c in columns] for row in result["runs"]])


def _begun(output: Path | None, name: str, showers: Any, core: str | None) -> dict[str, Any]:
    """Return a result without runs, or the one in a file."""
    from json import loads

    from caloforge.files.shower_file import ShowerFile
    from studies.ablations.arms import ABLATIONS
    from studies.command import provenance

    if output is not None and output.is_file():
        result: dict[str, Any] = loads(output.read_text(encoding="utf-8"))
        return result
    counts = {}
    for part, path in (("training", showers.training), ("test", showers.test)):
        with ShowerFile(path) as file:
            counts[part] = len(file)
    files = {"data": showers.training.name, "test": showers.test.name, "core": core}
    return {
        **provenance("studies.ablations", [name], files),
        "study": f"ablations {name}",
        "question": ABLATIONS[name].question,
        "showers": counts,
        "core": core or "all cells",
        "runs": [],
    }


def _run(
    result: dict[str, Any],
    missing: list[tuple[str, int]],
    showers: Any,
    core_seconds: float,
    output: Path | None,
    report: Any,
) -> None:
    """Add what is missing to a result, network by network, so that a killed study goes on."""
    from datetime import UTC, datetime

    from caloforge.foundations.durable import write_json
    from studies.ablations.measure import Judge, run_arm

    judge = Judge(showers)
    for number, (arm, seed) in enumerate(missing):
        report(number, len(missing))
        with TemporaryDirectory(prefix="caloforge-ablation-") as folder:
            row = run_arm(arm, showers, seed, core_seconds, judge, Path(folder))
        result["runs"].append({**row, "date": datetime.now(UTC).isoformat(timespec="seconds")})
        if output is not None:
            write_json(output, result)
    if "floors" not in result:
        result["floors"] = {n: v for n, v in judge.floors().items() if isinstance(v, int | float)}
        if output is not None:
            write_json(output, result)
    report(len(missing), len(missing))


if __name__ == "__main__":
    app = typer.Typer()
    app.command()(run)
    run_program(app, "studies.ablations")
