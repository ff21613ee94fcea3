from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.observables.definitions import observables
from caloforge.showers import Conditions, Showers
from caloforge.training.augmentation import (
    SYMMETRIES,
    allowed_symmetries,
    check_symmetries,
    symmetry_moves,
)

SQUARE = Grid("square", (6, 6, 4), cell_size=(5.0, 5.0), layer_pitch_mm=3.0)
CYLINDER = Grid("cylinder", (4, 8, 3), axes=("r", "phi", "layer"))
NORMAL, TILTED = Conditions.of([1e4, 1e5]), Conditions.of([1e4, 1e5], [np.pi / 2, 1.2])


def cell_moves(grid: Grid, names: list[str]) -> np.ndarray:
    return np.stack([move.cells_C for move in symmetry_moves(grid, names)])


def moved(deposits_NXYZ: NDArray[np.float32], move_C: NDArray[np.intp]) -> NDArray[np.float32]:
    """Move deposits as the loader does: what is in cell c goes to move_C[c]."""
    flat = deposits_NXYZ.reshape(len(deposits_NXYZ), -1)
    result = np.zeros_like(flat)
    result[:, move_C] = flat
    return result.reshape(deposits_NXYZ.shape)


def some_showers(grid: Grid) -> Showers:
    draws = np.random.default_rng(3)
    deposits = draws.lognormal(0, 2, (5, *grid.shape)) * (draws.random((5, *grid.shape)) < 0.4)
    return Showers(deposits.astype(np.float32), np.full(5, 1e5, "f4"), np.full(5, np.pi / 2, "f4"), grid)


def test_what_a_geometry_allows() -> None:
    oblong = Grid("oblong", (6, 5, 4))
    unequal = replace(SQUARE, cell_size=(5.0, 6.0))
    assert allowed_symmetries(SQUARE, NORMAL) == ("mirror-x", "mirror-y", "transpose")
    assert allowed_symmetries(oblong, NORMAL) == ("mirror-x", "mirror-y")
    assert allowed_symmetries(unequal, NORMAL) == ("mirror-x", "mirror-y")
    assert allowed_symmetries(SQUARE, TILTED) == ("mirror-x",)
    assert allowed_symmetries(SQUARE, Conditions.of([1e4, 1e4], 1.0)) == ("mirror-x",)
    sideways = Conditions.of([1e4, 1e4], 1.0, [0.0, math.pi])
    assert allowed_symmetries(SQUARE, sideways[:1]) == ("mirror-y",)
    assert allowed_symmetries(SQUARE, Conditions.of([1e4], 1.0, math.pi / 4)) == ("transpose",)
    assert allowed_symmetries(SQUARE, sideways) == ("mirror-x", "mirror-y", "transpose")
    assert allowed_symmetries(CYLINDER, NORMAL) == ("rotate-phi", "mirror-phi")
    assert allowed_symmetries(CYLINDER, TILTED) == ()


def test_ninety_degrees_are_normal_however_rounded() -> None:
    for theta in (np.float32(np.pi / 2), np.deg2rad(np.float32(90)), 1.5708):
        assert "mirror-y" in allowed_symmetries(SQUARE, Conditions.of([1e4], theta))
    assert "mirror-y" not in allowed_symmetries(SQUARE, Conditions.of([1e4], np.deg2rad(89.9)))


@pytest.mark.parametrize(
    ("name", "grid", "conditions"),
    [
        ("mirror-y", SQUARE, TILTED),
        ("transpose", SQUARE, TILTED),
        ("transpose", Grid("oblong", (6, 5, 4)), NORMAL),
        ("rotate-phi", SQUARE, NORMAL),
        ("mirror-phi", CYLINDER, TILTED),
        ("mirror-x", CYLINDER, NORMAL),
        ("mirror-z", SQUARE, NORMAL),
    ],
)
def test_a_symmetry_that_is_none_is_refused_by_name(
    name: str, grid: Grid, conditions: Conditions
) -> None:
    with pytest.raises(UsageError, match=rf"augmentation '{name}'.* expected one of"):
        check_symmetries(("mirror-x", name) if grid is SQUARE else (name,), grid, conditions)
    check_symmetries(allowed_symmetries(grid, conditions), grid, conditions)


@pytest.mark.parametrize("name", [name for name in SYMMETRIES if name != "rotate-phi"])
def test_mirrors_and_the_transpose_undo_themselves(name: str) -> None:
    grid = CYLINDER if "phi" in name else SQUARE
    same, other = cell_moves(grid, [name])
    assert (same == np.arange(grid.n_cells)).all()
    assert not (other == same).all()
    assert (other[other] == same).all()


def test_each_move_does_what_its_name_says() -> None:
    d_NXYZ = some_showers(SQUARE).deposits
    d_NRPL = some_showers(CYLINDER).deposits
    np.testing.assert_array_equal(moved(d_NXYZ, cell_moves(SQUARE, ["mirror-x"])[1]), d_NXYZ[:, ::-1])
    np.testing.assert_array_equal(moved(d_NXYZ, cell_moves(SQUARE, ["mirror-y"])[1]), d_NXYZ[:, :, ::-1])
    transposed = moved(d_NXYZ, cell_moves(SQUARE, ["transpose"])[1])
    np.testing.assert_array_equal(transposed, d_NXYZ.swapaxes(1, 2))
    mirrored = moved(d_NRPL, cell_moves(CYLINDER, ["mirror-phi"])[1])
    np.testing.assert_array_equal(mirrored, d_NRPL[:, :, ::-1])
    turns = [moved(d_NRPL, move) for move in cell_moves(CYLINDER, ["rotate-phi"])]
    expected = [np.roll(d_NRPL, turn, axis=2) for turn in range(8)]
    for turned in turns:
        assert sum(np.array_equal(turned, one) for one in expected) == 1


@pytest.mark.parametrize(
    ("grid", "names", "different"),
    [
        (SQUARE, ["mirror-x", "mirror-y"], 4),
        (SQUARE, ["transpose", "mirror-y", "mirror-x"], 8),
        (CYLINDER, ["rotate-phi", "mirror-phi"], 16),
    ],
)
def test_combinations_are_all_different_and_lose_nothing(
    grid: Grid, names: list[str], different: int
) -> None:
    moves = cell_moves(grid, names)
    assert len(np.unique(moves, axis=0)) == len(moves) == different
    showers = some_showers(grid)
    for move in moves:
        assert (np.sort(move) == np.arange(grid.n_cells)).all()
        got = moved(showers.deposits, move)
        layers = showers.deposits.sum((1, 2), dtype=np.float64)
        np.testing.assert_allclose(got.sum((1, 2), dtype=np.float64), layers, rtol=1e-12)


def test_observables_move_with_the_showers() -> None:
    showers = some_showers(SQUARE)
    before = observables(showers)
    moves = {name: cell_moves(SQUARE, [name])[1] for name in allowed_symmetries(SQUARE, NORMAL)}
    after = {
        name: observables(replace(showers, deposits=moved(showers.deposits, move)))
        for name, move in moves.items()
    }
    unchanged = ("total_deposit", "hits", "width_across", "length", "barycentre_depth", "profile_z")
    for got in after.values():
        for name in unchanged:
            np.testing.assert_allclose(got[name], before[name], rtol=1e-5)
    for a, b in (("x", "y"), ("y", "x")):
        for name in ("profile_{}", "moment1_{}", "moment2_{}", "moment3_{}", "width_{}", "maximum_{}"):
            np.testing.assert_allclose(
                after["transpose"][name.format(a)], before[name.format(b)], rtol=1e-4, atol=1e-4
            )
    np.testing.assert_allclose(after["mirror-x"]["moment1_x"], 5 - before["moment1_x"], rtol=1e-5)
    np.testing.assert_allclose(
        after["mirror-y"]["moment3_y"], -before["moment3_y"], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(after["mirror-x"]["width_y"], before["width_y"], rtol=1e-5)


def test_turns_and_mirrors_of_a_cylinder_keep_its_observables() -> None:
    showers = some_showers(CYLINDER)
    before = observables(showers)
    for move in cell_moves(CYLINDER, ["rotate-phi", "mirror-phi"]):
        after = observables(replace(showers, deposits=moved(showers.deposits, move)))
        for name in ("total_deposit", "hits", "profile_r", "profile_layer", "moment2_layer"):
            np.testing.assert_allclose(after[name], before[name], rtol=1e-5)


def test_a_cylinder_with_one_phi_cell_has_one_turn() -> None:
    assert len(cell_moves(replace(CYLINDER, shape=(4, 1, 3)), ["rotate-phi"])) == 1


@pytest.mark.parametrize("shape", [(5, 5, 3), (6, 6, 3), (4, 4, 1)])
def test_an_impact_point_moves_with_the_cell_that_it_lies_in(shape: tuple[int, int, int]) -> None:
    grid = Grid("square", shape, cell_size=(5.0, 5.0))
    for move in symmetry_moves(grid, ["mirror-x", "mirror-y", "transpose"]):
        for cell in range(0, grid.n_cells, shape[2]):
            before, after = (
                5.0 * (np.array(np.unravel_index(c, shape)[:2]) - shape[0] // 2)
                for c in (cell, move.cells_C[cell])
            )
            np.testing.assert_allclose(move.impact(before.astype(np.float32)), after)


@pytest.mark.parametrize("shape", [(5, 5, 3), (6, 6, 3)])
def test_a_direction_moves_with_the_line_that_it_belongs_to(shape: tuple[int, int, int]) -> None:
    grid = Grid("square", shape, cell_size=(5.0, 5.0))
    for move in symmetry_moves(grid, ["mirror-x", "mirror-y", "transpose"]):
        for phi in np.linspace(-2 * np.pi, 2 * np.pi, 13):
            near = np.array([1.0, 2.0], np.float32)
            far = near + np.array([np.cos(phi), np.sin(phi)], np.float32)
            turned = move.azimuth(float(phi))
            np.testing.assert_allclose(
                move.impact(far) - move.impact(near), [np.cos(turned), np.sin(turned)], atol=1e-5
            )
