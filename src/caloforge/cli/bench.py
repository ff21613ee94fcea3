"""``caloforge bench``: how fast is each part on this machine?"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, print_table, progress
from caloforge.cli.outputs import Overwrite, claim_json, this_command
from caloforge.foundations.randomness import DEFAULT_SEED

EXAMPLES = (
    "caloforge bench geant4 --minutes 0.1 -o results.json",
    "caloforge bench generate --only 'copula, torch, batch 128' --only Geant4 --streams 1,2",
    "caloforge bench loader --minutes 0.1",
    "caloforge bench loader --data showers.h5 --minutes 0.1",
    "caloforge bench train --batch 1 --minutes 0.01",
)


class Bench(StrEnum):
    """The benchmarks; each is a module of :mod:`caloforge.bench`."""

    geant4 = "geant4"
    generate = "generate"
    loader = "loader"
    train = "train"


OWNERS = {"data": Bench.loader, "batch": Bench.train, "only": Bench.generate, "streams": Bench.generate}
"""Options that one benchmark alone takes."""


def run(
    name: Annotated[Bench, typer.Argument(help="What to measure.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the result here.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="About how long to measure.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = DEFAULT_SEED,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.h5", help="What bench loader reads; those of the package if not given."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, max=650, help="Real showers an iteration of bench train; 16.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS", help="Rows of bench generate with all of these words; may be given again."
        ),
    ] = None,
    streams: Annotated[
        str | None, typer.Option(metavar="N,N", help="Streams of bench generate; 1,2,4.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Measure one part's speed, side by side with what it is compared to, in one run."""
    from importlib import import_module

    from caloforge.bench import Row
    from caloforge.bench.machine import describe_machine, package_versions
    from caloforge.foundations.durable import write_json
    from caloforge.foundations.errors import UsageError

    if output is not None:
        claim_json(output, overwrite=overwrite)
    given = {
        "data": data,
        "batch": batch,
        "only": only,
        "streams": None if streams is None else numbers(streams),
    }
    inputs = {option: value for option, value in given.items() if value not in (None, [])}
    for option in inputs:
        if name is not OWNERS[option]:
            raise UsageError(f"--{option}: only bench {OWNERS[option].value} takes it, got {name.value}")
    module = import_module(f"caloforge.bench.{name.value}")
    with progress(f"bench {name.value}", "steps") as report:
        rows: list[Row] = module.measure(minutes * 60, seed, report, **inputs)
    machine = describe_machine()
    result = {
        "bench": name.value,
        "command": this_command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "machine": machine,
        "versions": package_versions(),
        "rows": rows,
    }
    if output is not None:
        write_json(output, result)
    if json:
        print_result(result, as_json=True)
    else:
        title = f"{name.value} on {machine['cpu']}, {machine['cores']} cores"
        print_table(title, list(rows[0]), [list(row.values()) for row in rows])


def numbers(text: str) -> tuple[int, ...]:
    """Read numbers of streams. Raises UsageError."""
    from caloforge.foundations.errors import UsageError

    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1 or max(found) > 1024:
        raise UsageError(f"--streams: expected numbers from 1 to 1024 such as 1,2,4, got {text!r}")
    return found
