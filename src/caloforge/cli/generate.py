"""``caloforge generate``: showers from a trained model."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress_of, say, took, warn_of_radians
from caloforge.cli.outputs import Overwrite, claim_showers, this_command
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import DEFAULT_SEED, MAX_SEED
from caloforge.foundations.ranks import Ranks
from caloforge.foundations.units import DEGREE, Area, Spectrum
from caloforge.showers.particles import parse_particles

EXAMPLES = (
    "caloforge generate clic-ecal --events 100 --energy 10:500 -o first.h5",
    "caloforge generate run --events 200 --energy 10:500 -o generated.h5",
    "caloforge generate clic-ecal-angle --events 20 --energy 10:100 --theta 70:110 --impact 0,1.5 -o angles.h5",
    "caloforge generate run --events 50 --energy 50,100,200 --seed 7 --batch 16 -o three-energies.h5",
    "caloforge generate run --like showers.h5 --streams 2 -o like.h5",
)


class Engine(StrEnum):
    """What computes the network; auto takes libcaloforge where it is there, else it measures once which is fastest."""

    torch = "torch"
    native = "native"
    openvino = "openvino"
    onnx = "onnx"
    auto = "auto"


def run(
    model: Annotated[
        str, typer.Argument(help="A run folder, or a name from `caloforge models`.", metavar="MODEL")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The shower file; hits if it ends in .root, .parquet or .csv.",
            metavar="FILE",
        ),
    ],
    events: Annotated[int | None, typer.Option("--events", min=1, help="How many showers.")] = None,
    energy: Annotated[
        str | None,
        typer.Option(
            "--energy",
            help="GeV: low:high uniform, log:low:high, a,b,c, or a histogram's file.",
            metavar="SPECTRUM",
        ),
    ] = None,
    theta: Annotated[
        str | None,
        typer.Option("--theta", help="Degrees to the face, 90 is normal.", metavar="SPECTRUM"),
    ] = None,
    phi: Annotated[
        str | None,
        typer.Option(
            "--phi", help="Degrees around the normal, a:b or a,b,c; 90 is usual.", metavar="SPECTRUM"
        ),
    ] = None,
    impact: Annotated[
        str | None,
        typer.Option(
            "--impact",
            help="Impact points in mm, X,Y, a:b or a:b,c:d as for `simulate` (default: as in the training).",
            metavar="AREA",
        ),
    ] = None,
    particle: Annotated[
        str | None,
        typer.Option(
            "--particle",
            help="e-, gamma, ...: what the model was trained on, or several with commas between.",
            metavar="NAME[,NAME...]",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            help="Take all conditions from a shower file, or from a list: CSV, ROOT.",
            metavar="FILE",
        ),
    ] = None,
    overlay: Annotated[
        int,
        typer.Option("--overlay", min=1, help="Add up so many particles to each shower.", metavar="K"),
    ] = 1,
    engine: Annotated[
        Engine, typer.Option("--engine", help="What computes the network; auto: the fastest here.")
    ] = Engine.torch,
    streams: Annotated[
        int | None,
        typer.Option("--streams", min=1, max=1024, help="Batches made side by side; one a core."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=65536, help="Showers at a time.")] = 128,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MAX_SEED, help="Same seed, same showers.")
    ] = DEFAULT_SEED,
    digitise: Annotated[
        bool,
        typer.Option(
            "--digitise", help="Write what the electronics read out: `digitise` of the detector."
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Generate showers, streamed to a file in bounded memory."""
    from caloforge.files.primaries import energy_spectrum
    from caloforge.generation.condition_source import drawn, like_file
    from caloforge.generation.sampler import (
        check_conditions,
        generate_file,
        load,
        with_engine,
    )
    from caloforge.generation.threads import ThreadPool
    from caloforge.models.verdict import failures

    inputs = [] if like is None else [like]
    claim_showers(output, *inputs, overwrite=overwrite)
    angles = None if theta is None else Spectrum.parse(theta, unit=DEGREE, what="--theta")
    if like is None:
        if energy is None or events is None:
            raise UsageError("--events and --energy: both are needed, or --like FILE")
        source = drawn(
            events * overlay, energy_spectrum(energy, "--energy"), angles, seed,
            phi=None if phi is None else Spectrum.parse(phi, unit=DEGREE, what="--phi", signed=True),
            impact=None if impact is None else Area.parse(impact, "--impact"),
            particles=() if particle is None else parse_particles(particle),
        )  # fmt: skip
    elif any(option is not None for option in (energy, theta, phi, impact, particle)):
        raise UsageError(
            "--like: takes all conditions from the file; --energy, --theta, --phi, --impact and --particle do not apply"
        )
    else:
        source = like_file(like, None if events is None else events * overlay)
    source = source.overlaid(overlay)
    source = replace(source, provenance={"command": this_command(), **source.provenance})
    generator = load(model)
    if impact is not None and "impact_xy" not in generator.model.follows:
        name = generator.card.name
        raise UsageError(
            f"--impact: model {name} draws impact points as in its training, and takes none"
        )
    warning = check_conditions(generator, source.domain)
    ranks, made = Ranks.from_environment(), generator.card.grid
    if ranks.leads:
        if angles is not None:
            warn_of_radians(angles)
        if source.grid and (source.grid.name, source.grid.shape) != (made.name, made.shape):
            other, ours = (f"{grid.name} {list(grid.shape)}" for grid in (source.grid, made))
            say(f"warning: --like {like}: showers of {other}, the model makes those of {ours}")
        known = failures(generator.folder, source.domain.energy_MeV) if generator.folder else None
        for text in filter(None, (warning, known)):
            say(f"warning: {text}")
    if engine is Engine.auto and ranks.world > 1:
        raise UsageError("--engine auto: each rank could take another, expected the name of one")
    pool = ThreadPool(streams, ranks)
    generator, times = with_engine(generator, engine.value, batch, pool)
    if times:
        measured = ", ".join(f"{name} {ms:.3g}" for name, ms in times.items())
        say(f"engine: {generator.engine} (ms a shower on one stream: {measured})")
    started = time.monotonic()
    with progress_of(ranks, "generate", "showers") as report:
        generate_file(
            generator, source, output,
            seed=seed, batch=batch, digitise=digitise, pool=pool, ranks=ranks, progress=report, say=say,
        )  # fmt: skip
    if not ranks.leads:
        return
    seconds = time.monotonic() - started
    result = {
        "file": str(output),
        "showers": source.count,
        "seconds": seconds,
        "showers_per_s": source.count / seconds,
        "engine": generator.engine,
        "streams": pool.count,
        "threads": pool.threads,
    }
    rows = {
        "showers": f"{source.count:,} of {made.name}, model {generator.card.name}",
        "time": took(seconds, source.count),
        "computed by": f"{generator.engine}, streams: {pool.count}, threads of each: {pool.threads}",
    }
    print_result(result, str(output), rows.items(), as_json=json)
