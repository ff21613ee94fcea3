"""A sampling or homogeneous calorimeter, described in YAML."""

from __future__ import annotations

import math
import re
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from caloforge.detector.grid import MAX_CELLS, MAX_NAME, Grid
from caloforge.foundations.errors import UsageError
from caloforge.foundations.texts import read_text
from caloforge.foundations.yaml_model import parse_yaml

__all__ = ["Detector", "LayerStack", "Slab", "load_detector", "shipped_detectors"]

Length = Annotated[float, Field(gt=0, lt=1e5, allow_inf_nan=False)]
CellCount = Annotated[int, Field(ge=1, le=1000)]


MATERIALS = "https://geant4-userdoc.web.cern.ch/UsersGuides/ForApplicationDeveloper/html/Appendix/materialNames.html"


def _nist(name: str) -> str:
    if re.fullmatch(r"G4_[A-Za-z0-9_-]{1,60}", name):
        return name
    raise ValueError(
        f"expected a Geant4 NIST material such as G4_Si, see {MATERIALS}, got {name[:60]!r}"
    )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slab(_Strict):
    """One plate of a layer: a material by its Geant4 (NIST) name, and its thickness."""

    material: Annotated[str, AfterValidator(_nist)]
    thickness_mm: Length
    sensitive: bool = False


class LayerStack(_Strict):
    """Equal layers: the plates in the order in which a particle meets them, then a gap."""

    repeat: CellCount = 1
    slabs: Annotated[tuple[Slab, ...], Field(min_length=1)]
    gap_mm: Annotated[float, Field(ge=0, lt=1e4, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _one_sensitive(self) -> LayerStack:
        if sum(slab.sensitive for slab in self.slabs) != 1:
            raise ValueError("exactly one slab of a layer must have sensitive: true")
        return self

    @property
    def pitch_mm(self) -> float:
        """Depth of one layer with its gap, mm."""
        return sum(slab.thickness_mm for slab in self.slabs) + self.gap_mm


class Detector(_Strict):
    """A calorimeter: cells across, stacks of layers in depth, and how Geant4 should track.

    ``margin_mm`` is the material beyond the read-out image on each side; ``threshold_MeV`` is the
    read-out threshold of a cell; ``production_cut_mm`` is Geant4's range cut.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=MAX_NAME)]
    description: str = ""
    cells: tuple[CellCount, CellCount]
    cell_size_mm: tuple[Length, Length]
    layers: Annotated[tuple[LayerStack, ...], Field(min_length=1)]
    margin_mm: Annotated[float, Field(ge=0, lt=1e5, allow_inf_nan=False)] = 0.0
    production_cut_mm: Length = 0.7
    threshold_MeV: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def _few_enough_cells(self) -> Detector:
        if math.prod(self.cells) * self.n_layers > MAX_CELLS:
            raise ValueError(f"more than {MAX_CELLS} read-out cells in all")
        return self

    @property
    def n_layers(self) -> int:
        """Number of layers in depth."""
        return sum(stack.repeat for stack in self.layers)

    @property
    def materials(self) -> tuple[str, ...]:
        """Names of the materials in use, each once, in order of appearance."""
        return tuple(dict.fromkeys(s.material for stack in self.layers for s in stack.slabs))

    @property
    def grid(self) -> Grid:
        """The read-out grid; its ``extra`` carries the whole description into shower files."""
        pitches = {stack.pitch_mm for stack in self.layers}
        return Grid(
            name=self.name,
            shape=(*self.cells, self.n_layers),
            cell_size=self.cell_size_mm,
            layer_pitch_mm=pitches.pop() if len(pitches) == 1 else None,
            threshold_MeV=self.threshold_MeV,
            extra={
                "layer_stacks": [stack.model_dump(mode="json") for stack in self.layers],
                "margin_mm": self.margin_mm,
                "production_cut_mm": self.production_cut_mm,
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
