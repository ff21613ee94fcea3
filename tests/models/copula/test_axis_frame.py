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
from caloforge.models.copula.axis_frame import CORE, ShowerFrame, first_sector
from caloforge.showers.batch import Given

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
@given(st.floats(61, 119), st.floats(-4, 4), st.floats(-12, 12), st.floats(-9, 9))
def test_an_axis_passes_the_window_s_middle_in_every_layer(
    degrees: float, phi: float, x_mm: float, y_mm: float
) -> None:
    frame = ShowerFrame(GRID, tilted=True)
    angles = torch.tensor([math.radians(degrees)]), torch.tensor([phi])
    impact = torch.tensor([[x_mm, y_mm]])
    place = frame.place(Given.of(torch.ones(1), *angles, impact))
    cells_C, inside_C = (values[0] for values in frame.cells(place))
    middle = 6 * 15 + 7
    for z in range(GRID.n_layers):
        slope = (z + 0.5) * 3.0 / math.tan(math.radians(degrees))
        x = 6 + (x_mm + slope * math.cos(phi)) / 5.0
        y = 7 + (y_mm + slope * math.sin(phi)) / 4.0
        for offset_BZ, cell_BZ, wanted in (
            (place.offset_x_BZ, place.cell_x_BZ + 6, x),
            (place.offset_y_BZ, place.cell_y_BZ + 7, y),
        ):
            assert abs(float(offset_BZ[0, z])) <= 0.5 + 1e-5
            assert float(cell_BZ[0, z] + offset_BZ[0, z]) == pytest.approx(wanted, abs=1e-4)
        cell = [int(place.cell_x_BZ[0, z]) + 6, int(place.cell_y_BZ[0, z]) + 7]
        if 0 <= cell[0] < 13 and 0 <= cell[1] < 15:
            flat = (cell[0] * 15 + cell[1]) * GRID.n_layers + z
            assert int(cells_C[flat]) == middle * GRID.n_layers + z
            assert bool(inside_C[flat])


@settings(deadline=None, max_examples=30)
@given(st.floats(61, 119), st.floats(-4, 4), st.floats(-12, 12), st.floats(-9, 9))
def test_grid_and_window_lead_to_each_other(
    degrees: float, phi: float, x_mm: float, y_mm: float
) -> None:
    frame = ShowerFrame(GRID, tilted=True)
    angles = torch.tensor([math.radians(degrees)]), torch.tensor([phi])
    place = frame.place(Given.of(torch.ones(1), *angles, torch.tensor([[x_mm, y_mm]])))
    cells_C, inside_C = (values[0] for values in frame.cells(place))
    seen_C = torch.arange(GRID.n_cells)[inside_C]
    window_C = cells_C[inside_C]
    assert len(set(window_C.tolist())) == len(window_C)  # no two cells of the grid share one
    across, layer = window_C // GRID.n_layers, window_C % GRID.n_layers
    back, inside = frame.grid_cells(place, torch.zeros_like(across), across, layer)
    assert inside.all()
    assert torch.equal(back, seen_C)


def test_at_a_right_angle_both_windows_see_the_same_cells() -> None:
    straight, tilted = ShowerFrame(GRID, tilted=False), ShowerFrame(GRID, tilted=True)
    cells_BC, inside_BC = tilted.cells(tilted.place(Given.of(torch.ones(1))))
    assert inside_BC.all()
    cells = cells_BC[0]
    radius = torch.from_numpy(tilted.radius).repeat_interleave(GRID.n_layers)[cells]
    expected = torch.from_numpy(straight.radius).repeat_interleave(GRID.n_layers)
    torch.testing.assert_close(radius, expected)


def test_an_axis_moves_by_the_depths_of_its_layers() -> None:
    uneven = replace(GRID, layer_pitch_mm=None, layer_centres_mm=(1.5, 4.5, 20.0, 30.0, 31.0))
    angles, impact = (torch.tensor([1.3]), torch.tensor([math.pi / 2])), torch.tensor([[0.0, 1.0]])
    place = ShowerFrame(uneven, tilted=True).place(Given.of(torch.ones(1), *angles, impact))
    assert uneven.cell_size is not None
    y_mm = (place.cell_y_BZ + place.offset_y_BZ)[0] * uneven.cell_size[1]
    expected = [1.0 + z / math.tan(1.3) for z in uneven.depths_mm or ()]
    assert y_mm.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "grid", [CYLINDER, Grid("unsized", (13, 15, 5)), replace(GRID, layer_pitch_mm=None)]
)
def test_a_grid_through_which_no_axis_can_be_followed_is_refused(grid: Grid) -> None:
    with pytest.raises(
        UsageError, match="to follow tilted showers, expected cells of a known size and depth"
    ):
        ShowerFrame(grid, tilted=True)


def test_on_a_cylinder_nothing_moves_and_offsets_tell_where_the_axis_is() -> None:
    given = Given.of(torch.ones(1), impact_mm_B2=torch.tensor([[3.0, -2.0]]))
    place = ShowerFrame(CYLINDER, tilted=False).place(given)
    assert not place.moves
    assert (place.offset_x_BZ == 0).all()  # whose size is not known
    sized = replace(CYLINDER, cell_size=(4.0, math.pi / 8), layer_pitch_mm=3.0)
    theta, phi = math.radians(80), 0.3
    tilted = Given.of(torch.ones(1), torch.tensor([theta]), torch.tensor([phi]), given.impact_mm_B2)
    place = ShowerFrame(sized, tilted=True).place(tilted)
    assert not place.moves
    depth = (torch.arange(6) + 0.5) * 3.0
    expected = (3.0 + depth / math.tan(theta) * math.cos(phi)) / 4.0
    torch.testing.assert_close(place.offset_x_BZ[0], expected)


def test_on_a_cylinder_the_window_begins_at_a_sector() -> None:
    drum = Grid("drum", (3, 8, 4), axes=("r", "phi", "layer"))
    frame, sectors = ShowerFrame(drum, tilted=False), torch.tensor([0, 5])
    place = frame.place(Given.of(torch.ones(2)), sectors)
    cells_BC, inside_BC = frame.cells(place)
    assert inside_BC.all()
    for shower, sector in enumerate(sectors.tolist()):
        grid_C = torch.arange(drum.n_cells).view(drum.shape)
        expected = torch.from_numpy(np.roll(grid_C.numpy(), sector, axis=1)).flatten()
        assert torch.equal(cells_BC[shower], expected)
        across, layer = cells_BC[shower] // 4, cells_BC[shower] % 4
        back, _ = frame.grid_cells(place, torch.full_like(across, shower), across, layer)
        assert torch.equal(back, grid_C.flatten())


def test_a_shower_begins_in_the_brightest_sector_of_the_first_layer_that_it_hits() -> None:
    deposits = torch.zeros(3, 3, 8, 4)
    deposits[0, 0, 5, 1], deposits[0, 0, 2, 1], deposits[0, 0, 7, 3] = 0.2, 0.1, 9.0
    deposits[1, 1, 3, 0], deposits[1, 0, 6, 2] = 9.0, 0.1  # only the inner ring tells
    assert first_sector(deposits).tolist() == [5, 6, 0]
