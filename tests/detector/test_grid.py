from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import Grid, load_detector, shipped_detectors
from caloforge.detector.grid import CARTESIAN, CYLINDRICAL, MAX_CELLS
from caloforge.foundations.errors import CaloforgeError

length = st.floats(1e-3, 1e4)
count = st.integers(1, 200)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | length | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
known = set(Grid("x", (1, 1, 1)).to_json()) | {"cell_size_mm_rad"}
extras = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda key: key not in known), json_values, max_size=3
)
grids = st.builds(
    Grid,
    name=st.text(min_size=1, max_size=20),
    shape=st.tuples(count, count, count),
    axes=st.sampled_from([CARTESIAN, CYLINDRICAL]),
    cell_size=st.none() | st.tuples(length, length),
    layer_pitch_mm=st.none() | length,
    threshold_MeV=st.just(0.0) | length,
    extra=extras,
)


@given(grids)
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
        assert (
            Grid.from_json({"name": "a", "layer_stack": other}, shape=(2, 3, 4)).layer_pitch_mm is None
        )


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
