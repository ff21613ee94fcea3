from __future__ import annotations

import json
import math
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import Grid, load_detector, shipped_detectors
from caloforge.detector.file_keys import CARTESIAN, CYLINDRICAL, MAX_CELLS
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError

length = st.floats(1e-3, 1e4)
count = st.integers(1, 200)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | length | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
known = set(Grid("x", (1, 1, 1)).to_json()) | {"cell_size_mm_rad", "layer_centres_mm"}
extras = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda key: key not in known), json_values, max_size=3
)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    shape = (draw(count), draw(count), draw(count))
    steps = st.lists(st.floats(0.01, 100), min_size=shape[2], max_size=shape[2])
    centres = draw(st.none() | steps.map(lambda mm: tuple(accumulate(mm))))
    return Grid(
        name=draw(st.text(min_size=1, max_size=20)),
        shape=shape,
        axes=draw(st.sampled_from([CARTESIAN, CYLINDRICAL])),
        cell_size=draw(st.none() | st.tuples(length, length)),
        layer_pitch_mm=draw(st.none() | length) if centres is None else None,
        layer_centres_mm=centres,
        threshold_MeV=draw(st.just(0.0) | length),
        extra=draw(extras),
    )


@given(grids())
def test_what_a_file_holds_is_the_grid(grid: Grid) -> None:
    text = json.dumps(grid.to_json(), allow_nan=False)
    read = Grid.from_json(json.loads(text), shape=grid.shape)
    assert read == grid
    assert read.extra == grid.extra
    assert read.same_cells(grid)


@pytest.mark.parametrize("name", shipped_detectors())
def test_shipped_detectors_survive_a_file(name: str) -> None:
    grid = load_detector(name).grid
    read = Grid.from_json(json.loads(json.dumps(grid.to_json())), shape=grid.shape)
    assert (read, read.extra) == (grid, grid.extra)


def test_the_shortest_description_takes_its_shape_from_the_data() -> None:
    grid = Grid.from_json({"name": "mine"}, shape=(2, 3, 4))
    assert grid == Grid("mine", (2, 3, 4))
    assert (grid.n_cells, grid.n_layers, grid.cartesian, grid.threshold_MeV) == (24, 4, True, 0.0)


def test_a_stack_of_plates_gives_the_pitch_where_none_is_said() -> None:
    stack = [["G4_W", 2.4], ["G4_Si", 0.5, "sensitive"], ["G4_Galactic", 0.6]]
    assert Grid.from_json({"name": "a", "layer_stack": stack}, shape=(2, 3, 4)).layer_pitch_mm == 3.5
    told = {"name": "a", "layer_stack": stack, "layer_pitch_mm": 4}
    assert Grid.from_json(told, shape=(2, 3, 4)).layer_pitch_mm == 4
    for other in (7, "plates", [["G4_W"]], [["G4_W", "thick"]], [["G4_W", -1]], []):
        grid = Grid.from_json({"name": "a", "layer_stack": other}, shape=(2, 3, 4))
        assert grid.layer_pitch_mm is None
        assert grid.extra == {"layer_stack": other}


def test_what_old_files_say_is_written_in_todays_words() -> None:
    clic = load_detector("clic-ecal").grid
    old = {
        "name": "clic-ecal", "cell_size_mm": [5.1, 5.1], "shape": [25, 25, 25], "layers": 25,
        "layer_stack": [["G4_W", 2.4], ["G4_Si", 0.5, "sensitive"], ["G4_Galactic", 0.6]],
        "transverse_margin_mm": 100.0, "production_cut_mm": 0.05,
    }  # fmt: skip
    assert Grid.from_json(old).to_json() == clic.to_json() | {"threshold_MeV": 0.0}


@pytest.mark.parametrize("name", ["clic-ecal-test", "clic-ecal-train"])
def test_the_showers_that_ship_say_what_they_went_through(name: str) -> None:
    with ShowerFile(Path(str(resources.files("caloforge"))) / f"data/{name}.h5") as file:
        told, clic = file.grid.to_json(), load_detector("clic-ecal").grid.to_json()
    assert told == clic | {"threshold_MeV": 0.0}


def test_stacks_say_where_layers_lie_where_nothing_else_does() -> None:
    silicon = {"material": "G4_Si", "thickness_mm": 1.0, "sensitive": True}
    iron = {"material": "G4_Fe", "thickness_mm": 10.0}
    told = {"name": "a", "layer_stacks": [{"slabs": [iron]}, {"repeat": 2, "slabs": [silicon, iron]}]}
    assert Grid.from_json(told, shape=(2, 3, 2)).depths_mm == (15.5, 26.5)
    assert Grid.from_json(told | {"layer_pitch_mm": 4.0}, shape=(2, 3, 2)).depths_mm == (2.0, 6.0)
    assert Grid.from_json(told, shape=(2, 3, 3)).depths_mm is None  # not these layers


def test_a_name_is_not_part_of_where_the_cells_are() -> None:
    assert Grid("a", (2, 3, 4)).same_cells(Grid("b", (2, 3, 4), cell_size=(1, 1)))
    assert not Grid("a", (2, 3, 4)).same_cells(Grid("a", (3, 2, 4)))
    assert not Grid("a", (2, 3, 4)).same_cells(Grid("a", (2, 3, 4), axes=CYLINDRICAL))


def test_square_means_that_x_and_y_may_be_exchanged() -> None:
    assert Grid("a", (5, 5, 4), cell_size=(2, 2)).square
    assert Grid("a", (5, 5, 4)).square
    assert not Grid("a", (5, 5, 4), cell_size=(2, 3)).square
    assert not Grid("a", (5, 4, 4)).square
    assert not Grid("a", (5, 5, 4), axes=CYLINDRICAL).square


GOOD = Grid("good", (3, 4, 5), cell_size=(1, 2), layer_pitch_mm=3).to_json()

WRONG: list[tuple[str, Any]] = [
    ("name", None), ("name", ""), ("name", 3), ("name", "x" * 1000),
    ("shape", [3, 4]), ("shape", [3, 4, 5, 6]), ("shape", [3, 4, 0]), ("shape", [3, 4, -5]), ("shape", "345"),
    ("shape", [3.5, 4, 5]), ("shape", [True, 4, 5]), ("shape", [[3], 4, 5]), ("shape", {"x": 3}),
    ("shape", [10**6] * 3), ("shape", [10**400, 1, 1]), ("shape", [3, 4, 6]), ("shape", [math.nan, 4, 5]),
    ("layers", 6), ("layers", "five"), ("layers", 5.5),
    ("axes", ["x", "y"]), ("axes", "xyz"), ("axes", ["r", "phi", "z"]), ("axes", 3), ("axes", {"x": 1}),
    ("cell_size_mm", [1]), ("cell_size_mm", [0, 1]), ("cell_size_mm", [-1, 1]), ("cell_size_mm", ["a", "b"]),
    ("cell_size_mm", [math.nan, 1]), ("cell_size_mm", [math.inf, 1]), ("cell_size_mm", {"0": 1, "1": 2}),
    ("layer_pitch_mm", 0), ("layer_pitch_mm", "3 mm"), ("layer_pitch_mm", [1, 2]), ("layer_pitch_mm", 10**400),
    ("layer_centres_mm", [1, 2, 3, 4, 5]), ("layer_centres_mm", [1, 2, 3, 4]), ("layer_centres_mm", 3),
    ("threshold_MeV", -1), ("threshold_MeV", "low"), ("threshold_MeV", math.nan), ("threshold_MeV", False),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(CaloforgeError) as caught:
        Grid.from_json(GOOD | {field: value}, shape=(3, 4, 5))
    message = str(caught.value)
    assert message.startswith("detector")
    assert f"field {field}" in message or "field shape" in message
    assert len(message) < 250


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_a_description_is_an_object(data: object) -> None:
    with pytest.raises(CaloforgeError, match="detector: expected a JSON object"):
        Grid.from_json(data)


def test_without_data_a_shape_is_needed() -> None:
    with pytest.raises(CaloforgeError, match="field shape is missing"):
        Grid.from_json({"name": "x"})


@given(json_values)
def test_any_json_is_read_or_refused(data: object) -> None:
    try:
        grid = Grid.from_json(data)
    except CaloforgeError:
        return
    assert 1 <= grid.n_cells <= MAX_CELLS


@given(st.dictionaries(st.sampled_from(sorted(known)), json_values))
def test_any_fields_are_read_or_refused(fields: dict[str, object]) -> None:
    try:
        grid = Grid.from_json(GOOD | fields)
    except CaloforgeError:
        return
    json.dumps(grid.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "centres", [[1, 2], [1, 1, 2], [3, 2, 1], [0, 1, 2], [1, 2, math.inf], [1, math.nan, 2]]
)
def test_depths_increase_from_the_face_on(centres: list[float]) -> None:
    words = "field layer_centres_mm(: expected 3 increasing depths|.[012]: expected )"
    with pytest.raises(CaloforgeError, match=words):
        Grid.from_json({"name": "a", "layer_centres_mm": centres}, shape=(2, 2, 3))
