"""``caloforge simulate``: real showers from Geant4."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress_of, say, took, warn_of_radians
from caloforge.cli.outputs import Overwrite, claim_showers, this_command
from caloforge.foundations.randomness import DEFAULT_SEED
from caloforge.foundations.ranks import Ranks

EXAMPLES = (
    "caloforge simulate --detector clic-ecal --events 20 --energy 10:50 -o showers.h5",
    "caloforge simulate --detector pbwo4 --events 8 --energy log:2:20 --theta 60:120 --phi 0:360 -o tilted.h5 --json",
    "caloforge simulate --detector pbwo4 --events 8 --energy 2:20 --particle e-,gamma --impact 3,-4 -o both.h5",
)


def run(
    detector: Annotated[
        str,
        typer.Option(help="A detector of the package by name, or a YAML file.", metavar="NAME|FILE"),
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
    events: Annotated[int | None, typer.Option(help="How many showers.")] = None,
    energy: Annotated[
        str | None,
        typer.Option(
            help="Energies in GeV: low:high uniform, log:low:high log-uniform, a,b,c discrete; or a histogram, "
            "x.csv (low_GeV, high_GeV, weight) or x.root:name."
        ),
    ] = None,
    theta: Annotated[
        str | None,
        typer.Option(
            help="Angles to the face in degrees, in the same forms (default: 90, normal incidence)."
        ),
    ] = None,
    phi: Annotated[
        str | None,
        typer.Option(
            help="Azimuths around the face's normal in degrees, a:b or a,b,c (default: 90, in the y-z plane)."
        ),
    ] = None,
    impact: Annotated[
        str | None,
        typer.Option(
            help="Where the particle's line meets the face, mm from the central cell's centre: X,Y one point, a:b a square, "
            "a:b,c:d a rectangle, both uniform (default: uniform over the central cell).",
            metavar="AREA",
        ),
    ] = None,
    particle: Annotated[
        str | None,
        typer.Option(
            help="e-, e+, gamma, mu-, mu+ or pi0; several with commas between make a file of each in equal parts. "
            "Hadrons need --physics-data (default: e-).",
            metavar="NAME[,NAME...]",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Take the primaries from a shower file, or from a list: x.csv, x.root or x.root:tree with energy_GeV, theta_deg, "
            "phi_deg, x_mm, y_mm, particle.",
            metavar="FILE",
        ),
    ] = None,
    overlay: Annotated[
        int, typer.Option(min=1, help="Add up so many particles to each shower.", metavar="K")
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes of each rank; the file does not depend on them.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = DEFAULT_SEED,
    physics_data: Annotated[
        Path | None,
        typer.Option(
            help="A folder of Geant4's official data sets (default: G4LEDATA, else computed tables).",
            metavar="DIR",
        ),
    ] = None,
    digitise: Annotated[
        bool,
        typer.Option(
            "--digitise", help="Write what the electronics read out: `digitise` of the detector."
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Simulate showers with Geant4; run an interrupted command again and it goes on."""
    from caloforge.detector import load_detector
    from caloforge.files.primaries import energy_spectrum
    from caloforge.foundations.units import DEGREE, Area, Spectrum
    from caloforge.geant4.physics_data import find_physics_data
    from caloforge.geant4.request import SimulationRequest
    from caloforge.geant4.simulate import require_geant4, require_physics, simulate
    from caloforge.showers.particles import parse_particles

    request = SimulationRequest.of(
        load_detector(detector),
        events,
        None if energy is None else energy_spectrum(energy, "--energy"),
        theta=None if theta is None else Spectrum.parse(theta, unit=DEGREE, what="--theta"),
        phi=None if phi is None else Spectrum.parse(phi, unit=DEGREE, what="--phi", signed=True),
        impact=None if impact is None else Area.parse(impact, "--impact"),
        particles=None if particle is None else parse_particles(particle),
        like=like,
        overlay=overlay,
        seed=seed,
    )
    claim_showers(output, *([] if like is None else [like]), overwrite=overwrite)
    require_geant4()
    data = find_physics_data(physics_data)
    require_physics(request.particles, data)
    ranks = Ranks.from_environment()
    if ranks.leads:
        warn_of_radians(request.theta)
        say(f"physics: {data}" + (f" ({data.remark})" if data.remark else ""))
    with progress_of(ranks, "simulate", "showers") as report:
        result = simulate(
            request,
            output,
            workers=workers,
            physics_data=data,
            ranks=ranks,
            digitise=digitise,
            command=this_command(),
            progress=report,
            say=say,
        )
    if not ranks.leads:
        return
    print_result(
        {
            "file": str(result.file),
            "showers": result.showers,
            "simulated_now": result.simulated,
            "seconds": round(result.seconds, 3),
            "showers_per_s": round(result.simulated / max(result.seconds, 1e-9), 4),
            "physics_tables": data.to_json(),
        },
        str(result.file),
        {
            "showers": f"{result.showers:,} of {request.detector.name}",
            "simulated now": f"{result.simulated:,} in {took(result.seconds, result.simulated)}",
            "physics": str(data),
        }.items(),
        as_json=json,
    )
