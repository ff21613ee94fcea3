"""``caloforge convert``: public layouts to shower files, and showers to hits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress, say
from caloforge.cli.outputs import Overwrite, claim_showers, this_command
from caloforge.foundations.errors import UsageError

EXAMPLES = (
    "caloforge convert EleEscan_1_1.h5 EleEscan_1_2.h5 -o clic.h5",
    "caloforge convert dataset_1_photons_1.hdf5 --binning binning_dataset_1_photons.xml -o photons.h5",
    "caloforge convert ild-photon.edm4hep.root --detector ild-ecal --collection ECalBarrelSiHitsEven --collection ECalBarrelSiHitsOdd -o ild.h5",
    "caloforge convert ild-photons-calohits.hdf5 --detector ild-ecal --face 0,0,40 --particle gamma -o points.h5",
    "caloforge convert clic.h5 -o hits.parquet",
    "caloforge convert calochallenge-2.h5 --layout calochallenge -o dataset_2.hdf5",
)


def run(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Files in a public layout; shower files for hits.", metavar="IN..."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The shower file to write; hits if it ends in .root, .parquet or .csv.",
        ),
    ],
    layout: Annotated[
        str,
        typer.Option(
            help="clic, clic-angle, calochallenge, lemurs, edm4hep, points, or auto: by what the files hold. Of a shower "
            "file, calochallenge: write that layout."
        ),
    ] = "auto",
    binning: Annotated[
        Path | None, typer.Option(help="CaloChallenge's binning XML; data sets 2 and 3 go without.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="edm4hep, points: whose cells hits are put into.", metavar="NAME|FILE"),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(help="edm4hep: SimCalorimeterHits to read; may be repeated.", metavar="NAME"),
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(
            help="mm; edm4hep: the point of the calorimeter's face nearest to the origin (default: fitted to "
            "the hits); points: where primaries enter (default: 0,0,0).",
            metavar="X,Y,Z",
        ),
    ] = None,
    particle: Annotated[
        str | None, typer.Option(help="points: what the primaries are, such as gamma.", metavar="NAME")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Read showers as they were published and write one shower file, MeV and rad, checked; or write hits."""
    from caloforge.detector import load_detector
    from caloforge.files.layouts.convert import How, convert

    how = How(
        layout=layout,
        binning=binning,
        detector=None if detector is None else load_detector(detector),
        collections=tuple(collection or ()),
        face=None if face is None else _point(face),
        particle=None if particle is None else _particle(particle),
    )
    given = [*inputs, *([] if binning is None else [binning])]
    claim_showers(output, *given, overwrite=overwrite)
    with progress("convert", "showers") as report:
        result = convert(inputs, output, how, command=this_command(), report=report)
    for remark in result["remarks"]:
        say(f"note: {remark}")
    shape = " x ".join(map(str, result["shape"]))
    rows = {
        "showers": f"{result['showers']:,} in layout {result['layout']}",
        "detector": f"{result['detector']}, {shape} cells ({', '.join(result['axes'])})",
    }
    print_result(result, str(output), rows.items(), as_json=json)


def _point(text: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(number) for number in text.split(","))
    except ValueError:
        raise UsageError(f"--face: expected X,Y,Z in mm, got {text[:60]!r}") from None
    if not all(map(math.isfinite, (x, y, z))):
        raise UsageError(f"--face: expected finite numbers, got {text[:60]!r}")
    return x, y, z


def _particle(text: str) -> int:
    from caloforge.showers.particles import parse_particles

    found = parse_particles(text)
    if len(found) > 1:
        raise UsageError(f"--particle: expected one particle, got {text[:60]!r}")
    return found[0]
