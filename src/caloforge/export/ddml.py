"""What DDML (key4hep's fast simulation in DD4hep) needs beside a file: the properties of its actions, in DDG4's XML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import quoteattr

from caloforge.detector import Grid
from caloforge.export.par04 import trained_on
from caloforge.foundations.errors import UsageError
from caloforge.models.saved import ModelCard
from caloforge.showers import name_of

__all__ = ["of_cylinder", "of_plane", "require_plane"]

PLACES = {"PolyhedraBarrel": "Barrel", "Endcap": "Endcap"}
"""DDML's geometries, and what ILD calls their detectors."""


def require_plane(grid: Grid) -> None:
    """Raise UsageError unless the size of the cells across is known."""
    if grid.cell_size is None:
        raise UsageError(f"--target ddml: detector {grid.name!r}: the size of its cells is not known")


def of_plane(card: ModelCard, *, tilted: bool) -> Callable[[str, str], str]:
    """Return a function of the file's name and of who made it: the XML for L2LFlows' form.

    One bin is a cell, centred where the particle enters, without DDML's random shift. ``tilted`` says that the showers lie
    along their directions by themselves, so that DDML must not move layers.
    """
    grid = card.grid
    assert grid.cell_size is not None
    nx, ny, nz = grid.shape
    # Of an even number of cells the central one is right of the middle, which DDML takes for the centre.
    shifts = [size / 2 * (count % 2 == 0) for size, count in zip(grid.cell_size, (nx, ny), strict=True)]
    names = ("NBinsX", "NBinsY", "NBinsZ", "CellSizeX", "CellSizeY", "GridShiftX", "GridShiftY")
    own = _texts(names, (nx, ny, nz, *grid.cell_size, *shifts))
    fixed = {"Factor": "1", "RandomShift": "false", "CorrectForAngles": str(not tilted).lower()}
    return lambda file, made_by: _xml(card, "L2LFlowsModel", "Torch", {**own, **fixed}, file, made_by)


def of_cylinder(card: ModelCard, latents: int) -> Callable[[str, str], str]:
    """Return the same for Par04's form, in which DDML moves layers along the particle's direction."""
    grid = card.grid
    assert grid.cell_size is not None
    rings, sectors, layers = grid.shape
    names = ("NCellsRho", "NCellsPhi", "NCellsZ", "LatentVectorSize", "CellSizeRho", "CellSizeZ")
    own = _texts(names, (rings, sectors, layers, latents, grid.cell_size[0], grid.layer_pitch_mm or 0.0))
    own["CorrectForAngles"] = "true"
    return lambda file, made_by: _xml(card, "Par04ExampleVAE", "ONNX", own, file, made_by)


def _texts(names: Sequence[str], values: Sequence[float]) -> dict[str, str]:
    return {name: f"{value:.8g}" for name, value in zip(names, values, strict=True)}


def _xml(
    card: ModelCard, model: str, library: str, own: Mapping[str, str], file: str, made_by: str
) -> str:
    """Return the XML: an action for the barrel and one for the endcaps."""
    particles = [name_of(pdg) for pdg in card.pdg_ids]
    properties = {
        "Enable": "true",
        "ApplicableParticles": str(particles),
        "Etrigger": str(dict.fromkeys(particles, card.energy_MeV[0])),
        "ModelPath": file,
        "IntraOpNumThreads": "1",
        **own,
    }
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<!-- {made_by.replace('--', '- -')}",
        f"     Trained on {trained_on(card)}; DDML knows no upper limit. Lengths in mm, energies in MeV.",
        f"     {card.grid.n_layers} layers are filled in order. Regions, detectors and symmetry are ILD's: put yours.",
        '     The compact file has a region, <regions><region name="EcalBarrelRegion"/></regions>, and gives it to',
        '     its detector: <detector name="EcalBarrel" region="EcalBarrelRegion" ...>. -->',
        "<geant4_setup>",
        "  <actions>",
    ]
    for geometry, place in PLACES.items():
        where = {"RegionName": f"Ecal{place}Region", "Detector": f"Ecal{place}"}
        symmetry = {"Symmetry": "8"} if place == "Barrel" else {}
        told = {**where, **symmetry, **properties}
        lines += [
            f'    <action name="{model}{geometry}{library}Model/Caloforge{place}">',
            "      <properties",
            *(f"        {name}={quoteattr(value)}" for name, value in told.items()),
            "      />",
            "    </action>",
        ]
    return "\n".join([*lines, "  </actions>", "</geant4_setup>", ""])
