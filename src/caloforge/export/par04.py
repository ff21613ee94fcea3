"""What Geant4's example Par04 needs beside an ONNX file: cells as it lays them, and a macro that loads it."""

from __future__ import annotations

import math
from collections.abc import Callable

from caloforge.detector import Grid
from caloforge.detector.layers import Slab, read_stacks
from caloforge.detector.positions import first_azimuth_rad
from caloforge.foundations.errors import UsageError
from caloforge.foundations.units import DEGREE, GEV
from caloforge.models.saved import ModelCard
from caloforge.showers import NORMAL_INCIDENCE, Domain, name_of

__all__ = ["macro", "require_cylinder", "require_normal", "trained_on"]


def require_normal(target: str, domain: Domain) -> None:
    """Raise UsageError unless a model knows showers at normal incidence, for a form that asks for no others."""
    low, high = domain.theta_rad
    if not low - DEGREE < NORMAL_INCIDENCE < high + DEGREE:
        told = f"{low / DEGREE:.4g} to {high / DEGREE:.4g}"
        raise UsageError(
            f"--target {target}: expected a model of normal incidence, this one was trained at {told} degrees"
        )


def require_cylinder(target: str, grid: Grid) -> None:
    """Raise UsageError unless the cells are rings and sectors from -pi on, of even layers, as Par04's mesh has them."""
    wrong = None
    if grid.cartesian:
        wrong = "cells in x and y"
    elif grid.shape[1] % 2 or abs(first_azimuth_rad(grid) + math.pi) > 1e-4:
        wrong = f"{grid.shape[1]} sectors from {first_azimuth_rad(grid):.4g} rad on"
    elif grid.cell_size is None or grid.layer_pitch_mm is None:
        wrong = "no size of its rings, or layers that do not follow each other evenly"
    if wrong:
        raise UsageError(
            f"--target {target}: expected rings, an even number of sectors from -pi on, and even layers, as "
            f"calochallenge-2 has them; detector {grid.name!r} has {wrong}"
        )


def _plates(grid: Grid) -> tuple[int, list[Slab]]:
    """Return how many equal layers of at most two plates a detector is made of, which is all that Par04 can build."""
    stacks = read_stacks(grid.extra.get("layer_stacks"), grid.n_layers)
    if stacks is not None and len(stacks) == 1 and not stacks[0].gap_mm:
        (stack,) = stacks
        made = [(slab.material, slab.thickness_mm) for slab in stack.slabs]
        known = all(material.startswith("G4_") for material, _ in made)
        for period in (1, 2):
            if known and made == made[:period] * (len(made) // period):
                return stack.repeat * len(made) // period, list(stack.slabs[:period])
    raise UsageError(
        f"--target par04: expected equal layers of one or two plates of Geant4's materials without gaps, detector {grid.name!r} has others"
    )


def trained_on(card: ModelCard) -> str:
    """Say for which particles and energies a model was trained."""
    low, high = (f"{energy / GEV:.4g}" for energy in card.energy_MeV)
    return f"{', '.join(map(name_of, card.pdg_ids))} of {low} to {high} GeV"


def macro(card: ModelCard, latents: int) -> Callable[[str, str], str]:
    """Return a function of the file's name and of who made it: the macro that runs Par04 with the file.

    Raises UsageError for a detector that Par04 cannot build.
    """
    grid = card.grid
    assert grid.cell_size is not None
    assert grid.layer_pitch_mm is not None
    (rings, sectors, layers), ring_mm, layer_mm = grid.shape, grid.cell_size[0], grid.layer_pitch_mm
    repeat, plates = _plates(grid)
    mesh = [
        f"setSizeOfRhoCells {ring_mm:.8g} mm",
        f"setSizeOfZCells {layer_mm:.8g} mm",
        f"setNbOfRhoCells {rings}",
        f"setNbOfPhiCells {sectors}",
        f"setNbOfZCells {layers}",
    ]
    fraction = grid.extra.get("sampling_fraction")
    scale = [
        f"# Deposits are the model's: what sensitive plates see, divided by {fraction:g}. A full simulation that counts sensitive",
        f"# plates alone (examplePar04.mac) compares with {fraction:g} times these.",
    ]
    return lambda file, made_by: "\n".join(
        [
            f"# {made_by}",
            f"# Run it where Par04 was built, with {file} beside it: ./examplePar04 -m MACRO",
            f"# Trained on {trained_on(card)}, at normal incidence. Par04 asks for e-, e+ and gamma of any energy and angle.",
            *(scale if isinstance(fraction, float) else []),
            "/process/had/verbose 0",
            "/Par04/detector/setDetectorInnerRadius 80 cm",
            "/Par04/detector/setDetectorLength 2 m",
            f"/Par04/detector/setNbOfLayers {repeat}",
            "# Cells' centres may lie in any plate, and a deposit in one that is not sensitive would be lost.",
            *(
                f"/Par04/detector/setAbsorber {place} {plate.material} {plate.thickness_mm:.8g} mm true"
                for place, plate in enumerate(plates)
            ),
            *(f"/Par04/mesh/{command}" for command in mesh),
            "/Par04/parallel/setNbOfSlices 320",
            "/Par04/parallel/setNbOfRows 100",
            "/run/initialize",
            "/gun/particle e-",
            "/gun/energy 10 GeV",
            "/gun/position 0 0 0",
            "/gun/direction 0 1 0",
            f"/Par04/inference/setSizeLatentVector {latents}",
            "/Par04/inference/setSizeConditionVector 4",
            f"/Par04/inference/setModelPathName {file}",
            "/Par04/inference/setModelType VAE",
            "/Par04/inference/setProfileFlag 0",
            "/Par04/inference/setOptimizationFlag 0",
            "/Par04/inference/setCudaFlag 0",
            *(f"/Par04/inference/{command}" for command in mesh),
            "# The library comes last: it opens the file.",
            "/Par04/inference/setInferenceLibrary ONNX",
            "/analysis/setFileName caloforge.root",
            "/param/ActivateModel defineMesh",
            "/param/ActivateModel inferenceModel",
            "/run/beamOn 100",
            "",
        ]
    )
