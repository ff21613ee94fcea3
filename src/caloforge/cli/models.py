"""``caloforge models``: the networks by name, and the pretrained weights."""

from __future__ import annotations

from typing import Annotated

import typer

from caloforge.cli.console import Json, print_result, print_table

EXAMPLES = ("caloforge models", "caloforge models --detector pbwo4 --json")


def run(
    detector: Annotated[
        str, typer.Option("--detector", help="Build the networks for this detector.", metavar="NAME")
    ] = "clic-ecal",
    json: Json = False,
) -> None:
    """List the networks that `caloforge train --model` knows, with their parameters, and pretrained weights."""
    from caloforge.detector import load_detector
    from caloforge.files.shipped import pretrained_weights
    from caloforge.models.registry import describe

    rows = describe(load_detector(detector).grid)
    weights = sorted(pretrained_weights())
    if json:
        print_result({"detector": detector, "networks": rows, "weights": weights}, as_json=True)
        return
    columns = ("name", "generator", "critic", "what it is")
    print_table(
        f"Networks for {detector}, with their parameters", columns, [list(r.values()) for r in rows]
    )
    print("Pretrained weights:", ", ".join(weights) or "none in this version")
