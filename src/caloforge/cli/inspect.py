"""``caloforge inspect``: what is in a file, and is it whole?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from caloforge.cli.console import Json, digits, print_result, progress, say, span
from caloforge.foundations.units import DEGREE, GEV
from caloforge.showers.particles import name_of

EXAMPLES = ("caloforge inspect showers.h5", "caloforge inspect showers.h5 --json")


def run(
    file: Annotated[Path, typer.Argument(help="A shower file.", metavar="FILE")],
    json: Json = False,
) -> None:
    """Show shapes, units, ranges, occupancy and provenance of a shower file, and check every value."""
    from caloforge.files.summary import summarize

    with progress("inspect", "showers") as report:
        summary = summarize(file, report)
    for warning in summary["warnings"]:
        say(f"warning: {warning}")
    print_result(summary, str(file), _rows(summary), as_json=json)


def _rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Tell people what a summary says, in the units of the command line."""
    detector, shape = summary["detector"], " x ".join(map(str, summary["shape"]))
    yield "showers", f"{summary['showers']:,}"
    yield "detector", f"{detector['name']}, {shape} cells ({', '.join(summary['axes'])})"
    sizes = [detector.get(name) for name in ("cell_size_mm", "cell_size_mm_rad")]
    if size := next(filter(None, sizes), None):
        units = "mm" if summary["axes"][1] == "y" else "mm and rad"
        pitch, centres = detector["layer_pitch_mm"], detector.get("layer_centres_mm")
        depth = "" if pitch is None else f", a layer every {pitch:g} mm"
        if centres:
            depth = f", layers {span(centres[0], centres[-1], 'mm')} deep"
        yield "cell", f"{size[0]:g} x {size[1]:g} {units}{depth}"
    for name, title, unit_size, unit in (
        ("incident_energy_MeV", "incident energy", GEV, "GeV"),
        ("incident_theta_rad", "angle to the face", DEGREE, "degrees"),
        ("incident_phi_rad", "azimuth", DEGREE, "degrees"),
        ("impact_x_mm", "impact x", 1.0, "mm"),
        ("impact_y_mm", "impact y", 1.0, "mm"),
        ("positive_deposit_MeV", "deposit of a hit", 1.0, "MeV"),
    ):
        if limits := summary.get(name):
            yield title, span(limits[0] / unit_size, limits[1] / unit_size, unit)
    if particles := summary.get("particles"):
        yield "particles", ", ".join(f"{n:,} {name_of(int(pdg))}" for pdg, n in particles.items())
    yield "mean hits", f"{digits(summary['mean_hits'])}, {100 * summary['occupancy']:.3g} % of the cells"
    yield "mean deposit", f"{digits(summary['mean_deposit_MeV'])} MeV"
    if (fraction := summary["sampling_fraction"]) is not None:
        yield "sampling fraction", f"{fraction:.4g}"
    for name, value in summary["provenance"].items():
        told = value.get("what") if isinstance(value, dict) else value
        if isinstance(told, str | int | float):
            yield name.replace("_", " "), str(told)
    yield "checksum", summary["sha256"]
    yield "integrity", summary["integrity"]
