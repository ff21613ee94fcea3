"""What a file says of its detector: the JSON Schema and the reader take and refuse the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from shower_samples import PHOTON_LAYERS, binning_xml

from caloforge.detector import Grid, load_detector, shipped_detectors
from caloforge.detector.file_keys import FileKeys, json_schema
from caloforge.files.layouts.binning import read_binning
from caloforge.files.shipped import pretrained_weights
from caloforge.foundations.errors import CaloforgeError

jsonschema = pytest.importorskip("jsonschema")

PACKAGE = Path(str(resources.files("caloforge")))
SCHEMA = json.loads((PACKAGE / "detector" / "detector.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

FULL: dict[str, Any] = {
    "name": "full",
    "axes": ["r", "phi", "layer"],
    "shape": [2, 3, 2],
    "layers": 2,
    "cell_size_mm": [1.5, 2],
    "cell_size_mm_rad": [4.65, 0.4],
    "layer_pitch_mm": None,
    "layer_centres_mm": [1.0, 3.5],
    "threshold_MeV": 0.5,
    "layer_stacks": [
        {"slabs": [{"material": "G4_Fe", "thickness_mm": 10, "production_cut_mm": 0.1}]},
        {
            "repeat": 2,
            "slabs": [
                {"material": "glass", "thickness_mm": 2.4},
                {"material": "G4_Si", "thickness_mm": 0.5, "sensitive": True},
            ],
            "gap_mm": 0.6,
        },
    ],
    "materials": {"glass": {"density_g_cm3": 6.2, "elements": {"Pb": 0.6, "O": 0.4}}},
    "margin_mm": 100.0,
    "production_cut_mm": 0.7,
    "physics_list": "G4EmStandardPhysics_option4",
    "magnetic_field_T": [0, 0, 3.8],
    "zero_suppression": False,
    "sampling_fraction": 0.033,
    "digitise": {"mip_MeV": 0.1, "threshold_mip": 0.5, "noise_MeV": 0.01, "saturation_MeV": None},
    "digitised": True,
    "phi_start_rad": -3.14,
    "layer_ids": [0, 3],
    "bins_per_layer": [[2, 3], [2, 1]],
    "r_edges_mm": [[0, 1, 2], [0, 1.5, 4]],
    "layer_stack": [["G4_W", 2.4, "sensitive"]],
    "transverse_margin_mm": 100.0,
    "mine": {"any": ["thing"]},
}  # fmt: skip

OF_THE_READER_ALONE = (
    "increasing depths",
    "at most 16777216 in all",
    "but the shape is",
    "add up to 1",
    "field shape is missing",
)
"""What relates one number to another: no schema says that."""


def refused(data: object) -> str:
    """Return why a file is refused; nothing where it is read."""
    try:
        Grid.from_json(data)
    except CaloforgeError as error:
        return str(error)
    return ""


def agree(data: object) -> None:
    """Hold that both take it, or both refuse it, or the reader for reasons that it alone can see."""
    why = refused(data)
    assert "\n" not in why
    if VALIDATOR.is_valid(data):
        assert not why or any(words in why for words in OF_THE_READER_ALONE), why
    else:
        assert why


def written() -> Iterator[tuple[str, object]]:
    """Yield what this package writes of detectors, by a name."""
    for name in shipped_detectors():
        yield name, load_detector(name).grid.to_json()
    for name, folder in pretrained_weights().items():
        yield name, json.loads((folder / "model.json").read_text(encoding="utf-8"))["grid"]
    for path in sorted((PACKAGE / "data").glob("*.h5")):
        with h5py.File(path) as file:
            yield path.name, json.loads(file.attrs["detector"])


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json_schema() == SCHEMA


@pytest.mark.parametrize("told", [pytest.param(told, id=name) for name, told in written()])
def test_what_ships_is_valid(told: object) -> None:
    VALIDATOR.validate(told)
    assert not refused(told)


def test_what_is_converted_is_valid(tmp_path: Path) -> None:
    (tmp_path / "binning.xml").write_text(binning_xml((22, "photon", PHOTON_LAYERS)))
    told = json.loads(json.dumps(read_binning(tmp_path / "binning.xml", 368, tmp_path).grid().to_json()))
    assert {"layer_ids", "bins_per_layer", "r_edges_mm", "phi_start_rad"} <= told.keys()
    VALIDATOR.validate(told)


def test_every_key_is_known_to_both() -> None:
    assert FULL.keys() - {"mine"} == FileKeys.model_fields.keys() == SCHEMA["properties"].keys()
    VALIDATOR.validate(FULL)
    assert Grid.from_json(FULL).extra["mine"] == FULL["mine"]


DAMAGED: tuple[tuple[str, Any], ...] = (
    ("name", None), ("name", ""), ("name", 3), ("name", "x" * 201),
    ("axes", None), ("axes", ["x", "y"]), ("axes", ["r", "phi", "z"]), ("axes", "xyz"),
    ("shape", [2, 3]), ("shape", [2, 3, 2, 1]), ("shape", [2, 0, 2]), ("shape", [2.5, 3, 2]), ("shape", [True, 3, 2]),
    ("shape", "232"), ("shape", [1 << 25, 1, 1]), ("layers", "two"), ("layers", 0),
    ("cell_size_mm", [1]), ("cell_size_mm", [0, 1]), ("cell_size_mm_rad", [1, -1]), ("cell_size_mm_rad", ["1", 1]),
    ("layer_pitch_mm", 0), ("layer_pitch_mm", "3 mm"), ("layer_pitch_mm", 2.0), ("layer_centres_mm", [0, 1]),
    ("layer_centres_mm", 3), ("threshold_MeV", -1), ("threshold_MeV", False),
    ("layer_stacks", 7), ("layer_stacks", [{"slabs": []}]), ("layer_stacks", [{"slab": []}]),
    ("layer_stacks", [{"slabs": [{"material": "G4_W"}]}]), ("layer_stacks", [{"slabs": [{"material": "G4 W", "thickness_mm": 1}]}]),
    ("layer_stacks", [{"slabs": [{"material": "G4_W", "thickness_mm": "1"}]}]),
    ("layer_stacks", [{"repeat": 0, "slabs": [{"material": "G4_W", "thickness_mm": 1}]}]),
    ("materials", {"G4_mine": FULL["materials"]["glass"]}), ("materials", {"a": {"density_g_cm3": 1}}),
    ("materials", {"a": {"density_g_cm3": 1, "elements": {}}}), ("materials", {"a": {"density_g_cm3": 1, "elements": {"Xx": 1}}}),
    ("margin_mm", -1), ("production_cut_mm", 0), ("physics_list", 4), ("magnetic_field_T", [0, 3.8]), ("magnetic_field_T", [0, 0, 101]),
    ("zero_suppression", "yes"), ("sampling_fraction", 0), ("sampling_fraction", 1.5), ("digitise", {"noise_MeV": 1}),
    ("digitise", {"mip_MeV": 1, "gain": 2}), ("digitised", 1), ("phi_start_rad", "pi"), ("layer_ids", [0.5]),
    ("bins_per_layer", [[2]]), ("r_edges_mm", [0, 1]), ("r_edges_mm", [[-1, 1]]), ("transverse_margin_mm", "wide"),
)  # fmt: skip


@pytest.mark.parametrize(("key", "value"), DAMAGED)
def test_what_is_damaged_is_refused_by_both(key: str, value: object) -> None:
    data = {**FULL, key: value}
    assert not VALIDATOR.is_valid(data)
    assert key in refused(data) or key == "layer_pitch_mm"  # which is told of the depths beside it


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("layers", 3, "but the shape is"),
        ("shape", [1 << 12, 1 << 12, 2], "in all"),
        ("layer_centres_mm", [3.5, 1.0], "2 increasing depths"),
        ("layer_centres_mm", [1.0], "2 increasing depths"),
        ("shape", None, "field shape is missing"),
        ("materials", {"a": {"density_g_cm3": 1, "elements": {"Si": 0.5}}}, "add up to 1"),
    ],
)
def test_what_relates_numbers_is_refused_by_the_reader(key: str, value: object, words: str) -> None:
    data = {**FULL, key: value}
    assert VALIDATOR.is_valid(data)
    assert words in refused(data)


texts = st.text("aG4_Sié -", max_size=6)
numbers = st.integers(-5, 1 << 26) | st.floats(-10, 1e6) | st.sampled_from([2.0, 1e5, -0.0])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["slabs", "material", "repeat", "mip_MeV", "Si", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """Change a valid description in one place, however deep."""
    data = copy.deepcopy(FULL)
    place: Any = data
    key: Any = draw(st.sampled_from(sorted(data)))
    while isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
        place = place[key]
        key = draw(
            st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1)
        )
    what = draw(st.sampled_from(["replace", "remove", "add"]))
    if what == "remove":
        del place[key]
    elif what == "add" and isinstance(place, list):
        place.append(draw(values))
    elif what == "add":
        place[draw(texts)] = draw(values)
    else:
        place[key] = draw(values)
    return data


@given(changed())
@example({**FULL, "shape": [2.0, 3.0, 2.0]})
def test_both_refuse_the_same_damage(data: dict[str, Any]) -> None:
    agree(data)


@given(st.dictionaries(st.sampled_from(sorted(FULL)), values))
def test_both_refuse_the_same_of_anything(data: dict[str, Any]) -> None:
    agree(data)
