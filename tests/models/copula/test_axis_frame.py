"""The window around a shower's axis: where cells lie in it, and fields over it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.models.copula.axis_frame import CORE, ShowerFrame

GRID = Grid("flat", (13, 15, 5), cell_size=(5.0, 4.0), layer_pitch_mm=3.0)
TINY = Grid("tiny", (5, 5, 2))  # all of it is near the axis
CYLINDER = Grid("barrel", (9, 16, 6), axes=("r", "phi", "layer"))


@pytest.mark.parametrize(
    ("grid", "tilted"), [(GRID, False), (GRID, True), (CYLINDER, False), (TINY, False)]
)
def test_coefficients_come_back_from_the_field_they_make(grid: Grid, tilted: bool) -> None:
    frame = ShowerFrame(grid, tilted=tilted)
    core, halo = (torch.randn_like(c) for c in frame.coefficients(3))
    again_core, again_halo = frame.project(frame.expand(core, halo))
    torch.testing.assert_close(again_core, core)
    # A small window does not tell all harmonics apart: fields, not coefficients, are what counts.
    torch.testing.assert_close(
        frame.expand(again_core, again_halo), frame.expand(core, halo), rtol=1e-3, atol=1e-3
    )


def test_only_cells_near_the_axis_have_coefficients_of_their_own() -> None:
    frame = ShowerFrame(GRID, tilted=False)
    core, halo = frame.coefficients(1)
    x, y = np.indices(GRID.shape[:2]) - np.array([6, 7])[:, None, None]
    assert core.shape == ((np.hypot(x, y) <= CORE).sum(), 5, 1)
    assert halo.numel() < 5 * (13 * 15 - len(core))


@settings(deadline=None, max_examples=30)
@given(st.floats(61, 119), st.floats(-2.5, 2.5), st.floats(-2, 2))
def test_a_tilted_axis_passes_the_window_s_middle_in_every_layer(
    degrees: float, x_mm: float, y_mm: float
) -> None:
    frame = ShowerFrame(GRID, tilted=True)
    theta_B = torch.tensor([math.radians(degrees)])
    place = frame.place(theta_B, torch.tensor([[x_mm, y_mm]]))
    cells_XYZ = frame.cells(place).view(GRID.shape)
    for z in range(GRID.n_layers):
        axis_y_mm = y_mm + (z + 0.5) * 3.0 / math.tan(math.radians(degrees))
        nearest = round(7 + axis_y_mm / 4.0 - 1e-7)
        assert abs(float(place.offset_y_BZ[0, z])) <= 0.5 + 1e-5
        if abs(7 + axis_y_mm / 4.0 - nearest) > 0.499:
            continue  # on the edge of two cells
        middle = (frame.below[0] * frame.window[1] + frame.below[1]) * GRID.n_layers + z
        assert int(cells_XYZ[6, nearest, z]) == middle


def test_at_a_right_angle_both_windows_see_the_same_cells() -> None:
    straight, tilted = ShowerFrame(GRID, tilted=False), ShowerFrame(GRID, tilted=True)
    theta_B, impact_B2 = torch.tensor([math.pi / 2]), torch.zeros(1, 2)
    cells = tilted.cells(tilted.place(theta_B, impact_B2))[0]
    radius = torch.from_numpy(tilted.radius).repeat_interleave(GRID.n_layers)[cells]
    expected = torch.from_numpy(straight.radius).repeat_interleave(GRID.n_layers)
    torch.testing.assert_close(radius, expected)


@pytest.mark.parametrize(
    "grid", [CYLINDER, Grid("unsized", (13, 15, 5)), replace(GRID, layer_pitch_mm=None)]
)
def test_a_grid_through_which_no_axis_can_be_followed_is_refused(grid: Grid) -> None:
    with pytest.raises(UsageError, match="to follow tilted showers, expected"):
        ShowerFrame(grid, tilted=True)


def test_on_a_cylinder_an_impact_point_moves_nothing() -> None:
    place = ShowerFrame(CYLINDER, tilted=False).place(torch.tensor([1.5]), torch.tensor([[3.0, -2.0]]))
    assert (place.offset_x_B == 0).all()
    assert (place.offset_y_BZ == 0).all()
