from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import Grid, load_detector
from caloforge.detector.grid import CYLINDRICAL
from caloforge.detector.positions import cell_positions_mm, layer_depths_mm
from caloforge.foundations.errors import UsageError


def test_a_layer_lies_where_its_sensitive_plate_is() -> None:
    depths = layer_depths_mm(load_detector("ild-ecal").grid)
    assert depths is not None
    assert depths[0] == pytest.approx(2.1 + 0.525 / 2)
    np.testing.assert_allclose(np.diff(depths[:20]), 6.235)
    assert depths[20] == pytest.approx(20 * 6.235 + 4.2 + 0.525 / 2)
    np.testing.assert_allclose(np.diff(depths[20:]), 8.335)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.floats(0.5, 20))
def test_layers_of_unknown_make_lie_in_the_middle_of_their_pitch(
    n_x: int, n_y: int, n_layers: int, pitch: float
) -> None:
    grid = Grid("any", (n_x, n_y, n_layers), cell_size=(2.0, 3.0), layer_pitch_mm=pitch)
    x, y, z = cell_positions_mm(grid)
    assert x.shape == y.shape == z.shape == grid.shape
    np.testing.assert_allclose(z[0, 0], pitch * (np.arange(n_layers) + 0.5))
    assert x[n_x // 2, 0, 0] == y[0, n_y // 2, 0] == 0
    np.testing.assert_allclose(np.diff(x, axis=0), 2)
    np.testing.assert_allclose(np.diff(y, axis=1), 3)


def test_cylinders_begin_where_the_detector_says() -> None:
    size = (4.0, math.pi / 2)
    plain = Grid("c", (2, 4, 1), axes=CYLINDRICAL, cell_size=size, layer_pitch_mm=1.0)
    turned = Grid("c", (2, 4, 1), CYLINDRICAL, size, 1.0, extra={"phi_start_rad": -math.pi})
    for grid, first in ((plain, math.pi / 4), (turned, -3 * math.pi / 4)):
        x, y, _ = cell_positions_mm(grid)
        np.testing.assert_allclose(np.hypot(x, y)[:, :, 0], [[2] * 4, [6] * 4])
        assert math.atan2(y[0, 0, 0], x[0, 0, 0]) == pytest.approx(first)


@pytest.mark.parametrize(
    ("grid", "missing"),
    [
        (Grid("a", (2, 2, 2), layer_pitch_mm=1.0), "its cells' size"),
        (Grid("a", (2, 2, 2), cell_size=(1.0, 1.0)), "the depth of its layers"),
        (
            Grid("a", (2, 2, 2), cell_size=(1.0, 1.0), extra={"layer_stacks": [{"slabs": 1}]}),
            "the depth",
        ),
    ],
)
def test_what_is_not_known_is_told(grid: Grid, missing: str) -> None:
    with pytest.raises(UsageError, match=f"detector 'a': positions in mm need {missing}"):
        cell_positions_mm(grid)
