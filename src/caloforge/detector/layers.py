"""The layers of a calorimeter: plates of material, and where the layers that are read out lie."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

__all__ = [
    "OWN",
    "OWN_NAMES",
    "VACUUM",
    "WHOLE",
    "Count",
    "LayerStack",
    "Length",
    "Margin",
    "Material",
    "OwnName",
    "Slab",
    "Strict",
    "Tesla",
    "positions_mm",
    "read_stacks",
    "sensitive_depths",
    "stacks_of_plates",
]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""In JSON 3.0 is a whole number."""

Count = Annotated[int, Field(ge=1, le=1000), WHOLE]
Length = Annotated[float, Field(gt=0, lt=1e5, allow_inf_nan=False)]
Margin = Annotated[float, Field(ge=0, lt=1e5, allow_inf_nan=False)]
Tesla = Annotated[float, Field(ge=-100, le=100)]

VACUUM = "G4_Galactic"
NIST, NAME = re.compile(r"G4_[A-Za-z0-9_-]{1,60}"), re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")

NAMES = {"type": "string", "pattern": f"^({NIST.pattern}|{NAME.pattern})$"}
OWN_NAMES: dict[str, Any] = {"type": "string", "pattern": f"^(?!{NIST.pattern}$){NAME.pattern}$"}
"""The same for JSON Schema."""

MATERIALS = "https://geant4-userdoc.web.cern.ch/UsersGuides/ForApplicationDeveloper/html/Appendix/materialNames.html"


OWN: ContextVar[Container[str] | None] = ContextVar("own materials", default=None)
"""Materials that a description defines itself while it is checked; None where any name will do."""

SYMBOLS = (  # noqa: SIM905 (a list of 92 words reads worse)
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os "
    "Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U"
).split()


def _known(name: str) -> str:
    own = OWN.get()
    if NIST.fullmatch(name) or (NAME.fullmatch(name) if own is None else name in own):
        return name
    raise ValueError(
        f"expected one of this file's materials, or a Geant4 NIST material such as G4_Si, see {MATERIALS}, got {name[:60]!r}"
    )


def _named_apart(name: str) -> str:
    if not NAME.fullmatch(name) or NIST.fullmatch(name):
        raise ValueError("expected a name of letters, digits, - and _ that does not begin with G4_")
    return name


class Strict(BaseModel):
    """What a description is made of: no unknown fields, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Material(Strict):
    """A material by its density and its elements' parts of the mass."""

    density_g_cm3: Annotated[float, Field(gt=0, lt=1e3)]
    elements: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(
        min_length=1, json_schema_extra={"propertyNames": {"enum": list(SYMBOLS)}}
    )

    @model_validator(mode="after")
    def _whole(self) -> Material:
        if unknown := [symbol for symbol in self.elements if symbol not in SYMBOLS]:
            raise ValueError(f"elements: expected symbols such as Si, up to U, got {unknown[0][:20]!r}")
        if abs((total := sum(self.elements.values())) - 1) > 1e-3:
            raise ValueError(f"elements: expected parts of the mass that add up to 1, got {total:g}")
        return self


OwnName = Annotated[str, AfterValidator(_named_apart)]


class Slab(Strict):
    """One plate of a layer: a material by its name, its thickness, and a production cut of its own."""

    material: Annotated[str, AfterValidator(_known), WithJsonSchema(NAMES)]
    thickness_mm: Length
    sensitive: bool = False
    production_cut_mm: Length | None = None


class LayerStack(Strict):
    """Equal layers: the plates in the order in which a particle meets them, then a gap.

    What the sensitive plates of a layer see is read out as one; a stack without any is dead material.
    """

    repeat: Count = 1
    slabs: Annotated[tuple[Slab, ...], Field(min_length=1)]
    gap_mm: Annotated[float, Field(ge=0, lt=1e4, allow_inf_nan=False)] = 0.0

    @property
    def n_layers(self) -> int:
        """Number of layers that are read out: none of dead material."""
        return self.repeat if any(slab.sensitive for slab in self.slabs) else 0

    @property
    def pitch_mm(self) -> float:
        """Depth of one layer with its gap, mm."""
        return sum(slab.thickness_mm for slab in self.slabs) + self.gap_mm


def positions_mm(stacks: Sequence[LayerStack]) -> tuple[float | None, tuple[float, ...] | None]:
    """Return the pitch of layers that follow each other evenly from the face on, else the depths of their middles.

    Whichever it is, the other is None. A layer's gap is part of it; dead material is between layers.
    """
    depth, middles, pitches = 0.0, list[float](), set[float]()
    for stack in stacks:
        middles += [depth + (layer + 0.5) * stack.pitch_mm for layer in range(stack.n_layers)]
        pitches |= {stack.pitch_mm} if stack.n_layers else set()
        depth += stack.repeat * stack.pitch_mm
    pitch = pitches.pop()
    if not pitches and abs(middles[-1] - (len(middles) - 0.5) * pitch) < 1e-6 * pitch:
        return pitch, None
    return None, tuple(middles)


def sensitive_depths(
    stacks: Sequence[LayerStack], unit_mm: Mapping[str, float] | None = None
) -> list[float]:
    """Return how far below the face the middle of each layer's sensitive plates lies: of several the mean by thickness.

    In mm, or counted in a length ``unit_mm`` of each material, such as its radiation length; then gaps count nothing.
    """
    depths, face = list[float](), 0.0
    for stack in stacks:
        mm = np.array([slab.thickness_mm for slab in stack.slabs])
        thickness = mm if unit_mm is None else mm / [unit_mm[slab.material] for slab in stack.slabs]
        pitch = float(thickness.sum()) + (stack.gap_mm if unit_mm is None else 0)
        if stack.n_layers:
            seen = mm * [slab.sensitive for slab in stack.slabs]
            middle = float(np.average(np.cumsum(thickness) - thickness / 2, weights=seen))
            depths += [face + layer * pitch + middle for layer in range(stack.repeat)]
        face += stack.repeat * pitch
    return depths


def read_stacks(data: object, n_layers: int) -> tuple[LayerStack, ...] | None:
    """Read what a file says of its layers, ``layer_stacks``; None where that is not ``n_layers`` layers."""
    try:
        stacks = TypeAdapter(tuple[LayerStack, ...]).validate_python(data)
    except ValidationError:
        return None
    return stacks if sum(stack.n_layers for stack in stacks) == n_layers else None


def stacks_of_plates(plates: object, n_layers: int) -> list[dict[str, object]] | None:
    """Turn the first form of a file's layers, ``layer_stack``, into that of :func:`read_stacks`.

    It lists the plates of one layer, ``[material, thickness in mm]``, with "sensitive" after them in one. Vacuum
    at the end is the gap. None where it is not that.
    """
    try:
        slabs = [
            {"material": material, "thickness_mm": thickness, "sensitive": "sensitive" in marks}
            for material, thickness, *marks in plates  # type: ignore[attr-defined]
        ]
        gap = 0.0
        while slabs and slabs[-1]["material"] == VACUUM:
            gap += float(slabs.pop()["thickness_mm"])
    except (TypeError, ValueError):
        return None
    stacks = [{"repeat": n_layers, "slabs": slabs, "gap_mm": gap}]
    found = read_stacks(stacks, n_layers)
    return (
        None if found is None else [stack.model_dump(mode="json", exclude_none=True) for stack in found]
    )
