"""``caloforge export``: a trained model for other programs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from caloforge.cli.console import Json, digits, print_result, progress, say
from caloforge.cli.outputs import Overwrite, claim_export, this_command

EXAMPLES = (
    "caloforge export clic-ecal --target native -o clic-ecal.caloforge",
    "caloforge export clic-ecal --target onnx -o clic-ecal.onnx",
    "caloforge export clic-ecal --target ddml -o clic-ecal.pt",
)


class Target(StrEnum):
    """What the file is for."""

    native = "native"
    onnx = "onnx"
    par04 = "par04"
    ddml = "ddml"


def run(
    model: Annotated[
        str, typer.Argument(help="A run folder, or a name from `caloforge models`.", metavar="MODEL")
    ],
    target: Annotated[
        Target,
        typer.Option(
            "--target",
            help="native: libcaloforge, for C++ without another library; onnx: named inputs, any batch; par04: Geant4's example Par04; ddml: DDML in key4hep.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="FILE.caloforge (native), else FILE.onnx; for ddml FILE.pt where cells are in x and y. FILE.mac (par04) or FILE.xml (ddml) is written "
            "beside it.",
            metavar="FILE",
        ),
    ],
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a model in the form that another program loads, and check it against the model."""
    from caloforge.export.targets import export_model, file_beside
    from caloforge.generation.sampler import load
    from caloforge.models.verdict import failures

    claim_export(output, file_beside(output, target.value), overwrite=overwrite)
    generator = load(model)
    known = failures(generator.folder, generator.card.energy_MeV) if generator.folder else None
    if known:
        say(f"warning: {known}")
    with progress("export", "steps") as report:
        result = export_model(
            generator.model, generator.card, target.value, output,
            command=this_command(), progress=report,
        )  # fmt: skip
    rows = {
        "inputs": ", ".join(result["inputs"]),
        "output": result["output"],
        "size": f"{digits(result['bytes'] / 1e6)} MB",
        "checked": result["checked"],
    }
    if result["beside"]:
        rows["beside it"] = result["beside"]
    print_result(result, str(output), rows.items(), as_json=json)
