"""A sampling or homogeneous calorimeter, described in YAML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from caloforge.detector.electronics import Digitisation
from caloforge.detector.file_keys import CARTESIAN, CYLINDRICAL, MAX_CELLS, MAX_NAME
from caloforge.detector.grid import Grid
from caloforge.detector.layers import (
    OWN,
    Count,
    LayerStack,
    Length,
    Margin,
    Material,
    OwnName,
    Slab,
    Strict,
    Tesla,
    positions_mm,
)
from caloforge.foundations.errors import UsageError
from caloforge.foundations.texts import read_text
from caloforge.foundations.yaml_model import parse_yaml

__all__ = ["Cylinder", "Detector", "load_detector", "shipped_detectors"]


PhysicsList = Literal[
    "G4EmStandardPhysics",
    "G4EmStandardPhysics_option1",
    "G4EmStandardPhysics_option2",
    "G4EmStandardPhysics_option3",
    "G4EmStandardPhysics_option4",
    "G4EmStandardPhysicsGS",
    "G4EmStandardPhysicsSS",
    "G4EmStandardPhysicsWVI",
    "G4EmLivermorePhysics",
    "G4EmPenelopePhysics",
]

TOLD = {
    *("margin_mm", "production_cut_mm", "materials", "physics_list", "magnetic_field_T"),
    *("zero_suppression", "sampling_fraction", "digitise"),
}
"""What shower files say of a detector beside its grid and its layers."""


class Cylinder(Strict):
    """Cells around the axis: rings of equal width, each cut into equal sectors from phi = -pi on."""

    rings: Count
    ring_mm: Length
    sectors: Count


class Detector(Strict):
    """A calorimeter: cells across, stacks of layers in depth, and how Geant4 should track.

    Cells are ``cells`` of ``cell_size_mm`` in x and y, or a ``readout`` in r and phi.
    ``margin_mm`` is the material beyond the read-out image on each side; ``threshold_MeV`` is the
    read-out threshold of a cell, which with ``zero_suppression`` the simulation applies already;
    ``production_cut_mm`` is Geant4's range cut where a plate has none of its own; the magnetic field is the
    same everywhere; ``digitise`` is what ``--digitise`` does to deposits. Deposits are those in the sensitive plates divided by
    ``sampling_fraction``.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=MAX_NAME)]
    description: str = ""
    cells: tuple[Count, Count] | None = None
    cell_size_mm: tuple[Length, Length] | None = None
    readout: Cylinder | None = None
    materials: dict[OwnName, Material] | None = None
    layers: Annotated[tuple[LayerStack, ...], Field(min_length=1)]
    margin_mm: Margin = 0.0
    production_cut_mm: Length = 0.7
    physics_list: PhysicsList | None = None
    magnetic_field_T: tuple[Tesla, Tesla, Tesla] | None = None
    threshold_MeV: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    zero_suppression: bool | None = None
    sampling_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    digitise: Digitisation | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _with_own_materials(cls, data: Any, check: Callable[[Any], Detector]) -> Detector:
        """Let plates be made of what the description's ``materials`` define."""
        own = data.get("materials") if isinstance(data, dict) else None
        before = OWN.set(set(own) if isinstance(own, dict) else ())
        try:
            return check(data)
        finally:
            OWN.reset(before)

    @model_validator(mode="after")
    def _readable(self) -> Detector:
        if not self.n_layers:
            raise ValueError("layers: expected sensitive: true on at least one slab")
        given = [
            name for name in ("cells", "cell_size_mm", "readout") if getattr(self, name) is not None
        ]
        if given not in (["cells", "cell_size_mm"], ["readout"]):
            found = " and ".join(given) or "none of them"
            raise ValueError(f"expected cells and cell_size_mm, or readout, got {found}")
        if math.prod(self.across) * self.n_layers > MAX_CELLS:
            raise ValueError(f"more than {MAX_CELLS} read-out cells in all")
        return self

    @property
    def across(self) -> tuple[int, int]:
        """Numbers of cells along x and y, or of rings and sectors."""
        if self.readout is not None:
            return self.readout.rings, self.readout.sectors
        assert self.cells is not None
        return self.cells

    @property
    def n_layers(self) -> int:
        """Number of layers in depth that are read out."""
        return sum(stack.n_layers for stack in self.layers)

    @property
    def material_names(self) -> tuple[str, ...]:
        """Names of the materials in use, each once, in order of appearance."""
        return tuple(dict.fromkeys(slab.material for slab in self.slabs))

    @property
    def slabs(self) -> Iterator[Slab]:
        """The plates of all stacks, those of equal layers once."""
        return (slab for stack in self.layers for slab in stack.slabs)

    @property
    def grid(self) -> Grid:
        """The read-out grid; its ``extra`` carries the whole description into shower files."""
        pitch, centres = positions_mm(self.layers)
        size, extra = self.cell_size_mm, self.model_dump(mode="json", exclude_none=True, include=TOLD)
        if self.readout is not None:
            size = self.readout.ring_mm, 2 * math.pi / self.readout.sectors
            extra["phi_start_rad"] = -math.pi
        return Grid(
            name=self.name,
            shape=(*self.across, self.n_layers),
            axes=CARTESIAN if self.readout is None else CYLINDRICAL,
            cell_size=size,
            layer_pitch_mm=pitch,
            layer_centres_mm=centres,
            threshold_MeV=self.threshold_MeV,
            extra={
                "layer_stacks": [
                    stack.model_dump(mode="json", exclude_none=True) for stack in self.layers
                ],
                **extra,
            },
        )


def shipped_detectors() -> tuple[str, ...]:
    """List the names of the detectors that come with the package."""
    folder = resources.files("caloforge.detector") / "descriptions"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_detector(name_or_path: str | Path) -> Detector:
    """Load a shipped detector by name, or a description from a YAML file.

    Raises UsageError naming the file, the line and what was expected there.
    """
    text = str(name_or_path)
    if text in shipped_detectors():
        source = resources.files("caloforge.detector") / "descriptions" / f"{text}.yaml"
        return parse_yaml(Detector, source.read_text(encoding="utf-8"), f"{text}.yaml")
    path = Path(text)
    if not path.is_file():
        raise UsageError(
            f"detector {text!r}: expected one of {', '.join(shipped_detectors())} or a YAML file"
        )
    return parse_yaml(Detector, read_text(path, "a detector in YAML"), text)
