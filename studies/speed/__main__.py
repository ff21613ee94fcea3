"""``python -m studies.speed``: how fast beside the published network in Keras, and beside the machine's best?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.bench import numbers
from caloforge.cli.console import Json, print_result, print_table, progress
from caloforge.foundations.errors import UsageError
from studies.command import check_result_path, provenance, start, write_result

MODULE = "studies.speed"

EXAMPLES = (
    f"python -m {MODULE} generate --minutes 2.5 -o generate.json",
    f"python -m {MODULE} generate --only 'copula, torch, batch 128' --only Geant4 --only 'Keras, batch 128'",
    f"python -m {MODULE} train --minutes 1.5 -o train.json",
)

SHOWN = ("way", "engine", "batch", "streams", "threads", "ms/shower", "x_floor", "x_geant4", "x_keras")
"""The columns of ``generate`` that fit a terminal; the result file has all."""


class Part(StrEnum):
    """What is measured."""

    generate = "generate"
    train = "train"


def run(
    part: Annotated[Part, typer.Argument(help="Showers that are generated, or trained on.")],
    minutes: Annotated[float, typer.Option(min=0.01, help="About how long to measure.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 1,
    batch: Annotated[
        int | None, typer.Option(min=1, max=650, help="Real showers an iteration of train; 16.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="Rows of generate with all of these words; may be repeated."),
    ] = None,
    streams: Annotated[
        str | None, typer.Option(metavar="N,N", help="Streams of generate; 1,2,4.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the result here.")
    ] = None,
    json: Json = False,
) -> None:
    """Time the networks in turn with the published 3DGAN in Keras, and with what this machine does at best."""
    from studies.speed import generate, train

    if output is not None:
        check_result_path(output, "speed")
    if (batch if part is Part.generate else only or streams) is not None:
        raise UsageError(f"{part.value}: expected no options of the other part")
    arguments = [part.value, *(word for text in only or () for word in ("--only", text))]
    options = {"minutes": minutes, "seed": seed, "batch": batch, "streams": streams}
    result = {**provenance(MODULE, arguments, options), "part": part.value, "seed": seed}
    with progress(f"speed {part.value}", "steps") as report:
        if part is Part.generate:
            chosen = {} if streams is None else {"streams": numbers(streams)}
            rows = generate.measure(60 * minutes, seed, report, only or (), **chosen)
        else:
            rows = train.measure(
                60 * minutes, seed, report, **({} if batch is None else {"batch": batch})
            )
    result["rows"] = rows
    if output is not None:
        write_result(output, result)
    if json:
        print_result(result, as_json=True)
    else:
        columns = SHOWN if part is Part.generate else tuple(rows[0])
        print_table(part.value, columns, [[row[column] for column in columns] for row in rows])


if __name__ == "__main__":
    start(run, MODULE, EXAMPLES)
