"""``caloforge convert``: public layouts to shower files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, progress, say
from caloforge.cli.outputs import Overwrite, claim_showers, this_command

EXAMPLES = (
    "caloforge convert EleEscan_1_1.h5 EleEscan_1_2.h5 -o clic.h5",
    "caloforge convert dataset_1_photons_1.hdf5 --binning binning_dataset_1_photons.xml -o photons.h5",
)


def run(
    inputs: Annotated[list[Path], typer.Argument(help="Files in a public layout.", metavar="IN...")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The shower file to write.")],
    layout: Annotated[
        str, typer.Option(help="clic, clic-angle, calochallenge, lemurs, or auto: by the files' fields.")
    ] = "auto",
    binning: Annotated[
        Path | None, typer.Option(help="CaloChallenge's binning XML; data sets 2 and 3 go without.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Read showers as they were published and write one shower file, MeV and rad, checked."""
    from caloforge.files.layouts.convert import convert

    given = [*inputs, *([] if binning is None else [binning])]
    claim_showers(output, *given, overwrite=overwrite)
    with progress("convert", "showers") as report:
        result = convert(
            inputs, output, layout=layout, binning=binning, command=this_command(), report=report
        )
    for remark in result["remarks"]:
        say(f"note: {remark}")
    shape = " x ".join(map(str, result["shape"]))
    rows = {
        "showers": f"{result['showers']:,} in layout {result['layout']}",
        "detector": f"{result['detector']}, {shape} cells ({', '.join(result['axes'])})",
    }
    print_result(result, str(output), rows.items(), as_json=json)
