"""What shower files say of their detector: the keys, their limits, and the JSON Schema that follows from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from caloforge.detector.electronics import Digitisation
from caloforge.detector.layers import (
    OWN_NAMES,
    WHOLE,
    LayerStack,
    Length,
    Margin,
    Material,
    OwnName,
    Tesla,
)
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.texts import shortened
from caloforge.foundations.yaml_model import first_error, in_words

__all__ = ["CARTESIAN", "CYLINDRICAL", "MAX_CELLS", "MAX_NAME", "FileKeys", "json_schema", "read_keys"]

CARTESIAN = ("x", "y", "z")
CYLINDRICAL = ("r", "phi", "layer")
AXES = [list(CARTESIAN), list(CYLINDRICAL)]

MAX_CELLS = 1 << 24
"""A grid above this is taken for a mistake: a shower of it would need 64 MiB."""

MAX_NAME = 200


def _known(axes: Any) -> Any:
    if axes not in AXES:
        raise ValueError(f"expected {' or '.join(map(str, AXES))}")
    return axes


Axes = Annotated[Any, AfterValidator(_known), WithJsonSchema({"enum": AXES})]
Cells = Annotated[int, Field(ge=1, le=MAX_CELLS), WHOLE]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]

EITHER: dict[str, Any] = {"layer_pitch_mm": {"type": "number"}, "layer_centres_mm": {"type": "array"}}


class FileKeys(BaseModel):
    """What the attribute `detector` of a shower file holds. All but the name may be missing; keys beside these are kept."""

    model_config = ConfigDict(
        title="Detector of a caloforge shower file, version 1",
        json_schema_extra={"not": {"required": list(EITHER), "properties": EITHER}},
    )

    name: str = Field(min_length=1, max_length=MAX_NAME, description="text, 1 to 200 characters")
    axes: Axes = Field(AXES[0], description='`["x", "y", "z"]` (default) or `["r", "phi", "layer"]`')
    shape: tuple[Cells, Cells, Cells] | None = Field(None, description="numbers of cells along the axes")
    layers: Cells | None = Field(None, description="the last number of `shape` again")
    cell_size_mm: tuple[Positive, Positive] | None = Field(
        None, description="size of a cell along x and y, mm, or null"
    )
    cell_size_mm_rad: tuple[Positive, Positive] | None = Field(
        None, description="on a cylinder in its place: width of a ring, mm, and angle of a sector, rad"
    )
    layer_pitch_mm: Positive | None = Field(
        None, description="distance of layers that follow each other evenly from the face on, or null"
    )
    layer_centres_mm: tuple[Positive, ...] | None = Field(
        None,
        description="where they do not: how deep the middle of each layer lies below the face, rising",
    )
    threshold_MeV: NotNegative | None = Field(
        None, description="read-out threshold of a cell: deposits below are not seen"
    )
    layer_stacks: tuple[LayerStack, ...] | None = Field(
        None,
        description="`layers` of the YAML: plates in the order in which a particle meets them; a stack without a sensitive one is dead material",
    )
    materials: dict[OwnName, Material] | None = Field(
        None,
        description="materials of the plates that are not Geant4's, by name",
        json_schema_extra={"propertyNames": OWN_NAMES},
    )
    margin_mm: Margin | None = Field(
        None, description="material beyond the read-out image on each side, mm"
    )
    production_cut_mm: Length | None = Field(None, description="Geant4's range cut, mm")
    physics_list: str | None = Field(
        None, max_length=MAX_NAME, description="Geant4's electromagnetic physics, by name"
    )
    magnetic_field_T: tuple[Tesla, Tesla, Tesla] | None = Field(
        None, description="uniform field along x, y and z, tesla"
    )
    zero_suppression: bool | None = Field(
        None, description="whether deposits below the threshold are left out of the file"
    )
    sampling_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="deposits have been divided by it"
    )
    digitise: Digitisation | None = Field(None, description="what the electronics make of deposits")
    digitised: bool | None = Field(None, description="whether they have made it of these")
    phi_start_rad: Number | None = Field(
        None, description="where a cylinder's first sector begins, rad (default: 0)"
    )
    layer_ids: tuple[Annotated[int, WHOLE], ...] | None = Field(
        None, description="of a CaloChallenge binning: the layers' numbers"
    )
    bins_per_layer: tuple[tuple[Cells, Cells], ...] | None = Field(
        None, description="of a CaloChallenge binning: rings and sectors of each layer"
    )
    r_edges_mm: tuple[tuple[NotNegative, ...], ...] | None = Field(
        None, description="of a CaloChallenge binning: edges of each layer's rings, mm"
    )
    layer_stack: Any = Field(
        None,
        description='of the first files: plates of one layer as `[material, mm]`, with `"sensitive"` after them in one',
        json_schema_extra={"deprecated": True},
    )
    transverse_margin_mm: Margin | None = Field(
        None, description="of the first files: `margin_mm`", json_schema_extra={"deprecated": True}
    )


def read_keys(data: Mapping[str, Any], source: str) -> FileKeys:
    """Check what a file says, as JSON counts types: true is no number. Raises CaloforgeError naming the field."""
    try:
        return FileKeys.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = first_error(error)
        field = shortened(".".join(map(str, first["loc"])), 60)
        where = f"{source}, field {field}" if field else source
        words = in_words(first, FileKeys).replace("Input should be", "expected")
        told = first["type"] in ("missing", "extra_forbidden") or ", got " in words
        got = "" if told else f", got {shortened(str(first['input']), 60)}"
        raise CaloforgeError(f"{where}: {shortened(words, 200)}{got}") from None


class _Plain(GenerateJsonSchema):
    """Leaves out what says nothing: names of fields in capitals, and that a missing field is null."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic's signature)
        return False

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


def json_schema() -> dict[str, Any]:
    """Return the keys as a JSON Schema, draft 2020-12: what ``detector.schema.json`` beside this module holds."""
    found = FileKeys.model_json_schema(schema_generator=_Plain)
    return {"$schema": GenerateJsonSchema.schema_dialect, **found}
