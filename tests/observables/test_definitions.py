"""Each observable against a slow, obvious loop over cells, and against showers made by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.observables.definitions import (
    OBSERVABLES,
    SPECTRUM_EDGES_MEV,
    mean_profiles,
    observables,
    sampling_fraction_by_energy,
)
from caloforge.showers import Showers

CLIC = Grid.from_json(
    {
        "name": "clic", "shape": [4, 3, 7], "cell_size_mm": [5.1, 6.0], "threshold_MeV": 0.1,
        "layer_stack": [["G4_W", 2.4], ["G4_Si", 0.5, "sensitive"], ["G4_Galactic", 0.6]],
    }
)  # fmt: skip
UNEVEN = Grid(
    "uneven", (4, 3, 6), cell_size=(5.1, 6.0), layer_centres_mm=(20.0, 23.5, 27.0, 45.0, 52.0, 60.0)
)
CYLINDER = Grid(
    "cylinder", (3, 4, 6), ("r", "phi", "layer"), cell_size=(4.65, math.pi / 2), layer_pitch_mm=3.4,
    extra={"phi_start_rad": -math.pi},
)  # fmt: skip


def showers_of(deposits: Any, grid: Grid = CLIC, energy: float = 1000.0) -> Showers:
    array = np.asarray(deposits, dtype=np.float32)
    n = len(array)
    return Showers(array, np.full(n, energy, np.float32), np.full(n, 1.5, np.float32), grid)


def deposits_on(grid: Grid) -> st.SearchStrategy[NDArray[np.float32]]:
    """Sparse deposits of 0 or 0.001 to 1,000 MeV, empty showers among them."""
    cell = st.one_of(st.just(0.0), st.floats(2**-10, 2**10, width=32))
    return arrays(np.float32, (2, *grid.shape), elements=cell, fill=st.just(0.0))


def slow(deposit: NDArray[np.float32], grid: Grid, energy: float) -> dict[str, float]:
    """Compute the observables of one shower cell by cell."""
    cells = [(index, float(e)) for index, e in np.ndenumerate(deposit) if e > 0]
    total = sum(e for _, e in cells)
    found = {
        "total_deposit": total,
        "sampling_fraction": total / energy,
        "hits": float(sum(e >= grid.threshold_MeV for _, e in cells)),
        "hits_100keV": float(sum(e >= np.float32(0.1) for _, e in cells)),
        "hits_300keV": float(sum(e >= np.float32(0.3) for _, e in cells)),
    }
    found |= {f"hits_{t}MeV": float(sum(e >= t for _, e in cells)) for t in (1, 10, 100)}
    found["occupancy"] = found["hits"] / grid.n_cells
    if not cells:
        return found
    hottest = max(e for _, e in cells)
    first = next(index for index, e in cells if e == hottest)
    layers = [sum(e for index, e in cells if index[2] == z) for z in range(grid.n_layers)]
    found["first_layer"] = min(index[2] for index, _ in cells)
    found["peak_layer"] = layers.index(max(layers))
    found["leakage"] = layers[-1] / total
    found["largest_fraction"] = hottest / total
    spread = []
    for axis, name in enumerate(grid.axes):
        mean = sum(index[axis] * e for index, e in cells) / total
        central = {n: sum((index[axis] - mean) ** n * e for index, e in cells) / total for n in (2, 3)}
        found |= {
            f"maximum_{name}": first[axis],
            f"moment1_{name}": mean,
            f"moment2_{name}": central[2],
            f"moment3_{name}": central[3],
        }
        spread.append(central[2])
    assert grid.cell_size is not None
    assert grid.depths_mm is not None
    depths = [grid.depths_mm[index[2]] for index, _ in cells]
    mean = sum(mm * e for mm, (_, e) in zip(depths, cells, strict=True)) / total
    found["barycentre_depth"] = mean
    square = sum((mm - mean) ** 2 * e for mm, (_, e) in zip(depths, cells, strict=True)) / total
    found["length"] = math.sqrt(square)
    if grid is CLIC:
        layer_X0, plate_X0 = 2.4 / 3.504 + 0.5 / 93.7, 2.4 / 3.504 + 0.25 / 93.7
        found["barycentre_X0"] = found["moment1_z"] * layer_X0 + plate_X0
    n = grid.n_layers
    for name, low, high in (
        ("front", 0, n // 3),
        ("middle", n // 3, 2 * n // 3),
        ("back", 2 * n // 3, n),
    ):
        found[f"fraction_{name}"] = sum(e for index, e in cells if low <= index[2] < high) / total
    if grid.cartesian:
        found["width_x"], found["width_y"] = (
            math.sqrt(s) * size for s, size in zip(spread[:2], grid.cell_size, strict=True)
        )
        positions = [(i * grid.cell_size[0], j * grid.cell_size[1], e) for (i, j, _), e in cells]
        found["measured_angle"] = slow_angle(cells, total, (1.0, 1.0), tuple(range(grid.n_layers)))
        scale = grid.cell_size
        found["axis_angle"] = slow_angle(cells, total, scale, grid.depths_mm)
        turned = [((j, i, k), e) for (i, j, k), e in cells]
        found["axis_angle_x"] = slow_angle(turned, total, scale[::-1], grid.depths_mm)
        found["angle_error_x"] = found["axis_angle_x"] - math.pi / 2
    else:
        size_r, size_phi = grid.cell_size
        positions = [
            (
                (i + 0.5) * size_r * math.cos((j + 0.5) * size_phi - math.pi),
                (i + 0.5) * size_r * math.sin((j + 0.5) * size_phi - math.pi),
                e,
            )
            for (i, j, _), e in cells
        ]
    x, y = (sum(p[k] * p[2] for p in positions) / total for k in (0, 1))
    corner = [-(n // 2) * size for n, size in zip(grid.shape[:2], grid.cell_size, strict=True)]
    found["barycentre_x"], found["barycentre_y"] = x, y
    if grid.cartesian:
        found["barycentre_x"], found["barycentre_y"] = x + corner[0], y + corner[1]
        found["angle_error"] = found["axis_angle"] - float(np.float32(1.5))
    found |= slow_radii(cells, positions, grid, (x, y))
    found["width_across"] = math.sqrt(
        sum(e * ((a - x) ** 2 + (b - y) ** 2) for a, b, e in positions) / total
    )
    return found


def slow_radii(
    cells: list[Any], positions: list[Any], grid: Grid, centre: tuple[float, float]
) -> dict[str, float]:
    """Measure distances from the axis in space, with vectors; the incident angle is 1.5 rad."""
    assert grid.depths_mm is not None
    theta = float(np.float32(1.5))
    along = np.array([0, math.cos(theta), math.sin(theta)] if grid.cartesian else [0, 0, 1.0])
    total = sum(e for _, e in cells)
    depth = sum(grid.depths_mm[index[2]] * e for index, e in cells) / total
    distances = []
    for (index, e), (a, b, _) in zip(cells, positions, strict=True):
        step = np.array([a - centre[0], b - centre[1], grid.depths_mm[index[2]] - depth])
        distances.append((float(np.linalg.norm(np.cross(step, along))), e))
    distances.sort()
    running = np.cumsum([e for _, e in distances])
    return {
        "mean_radius": sum(d * e for d, e in distances) / total,
        **{
            f"radius_{percent}": distances[
                int(np.searchsorted(running, percent / 100 * total * (1 - 1e-9)))
            ][0]
            for percent in (90, 95)
        },
    }


def slow_angle(
    cells: list[Any], total: float, scale: tuple[float, float], depth: tuple[float, ...]
) -> float:
    """Follow the published recipe layer by layer."""
    x, y = (sum(index[k] * e for index, e in cells) / total * scale[k] for k in (0, 1))
    z = sum(depth[index[2]] * e for index, e in cells) / total
    weighted, weights = 0.0, 0.0
    for layer in {index[2] for index, _ in cells}:
        here = [(index, e) for index, e in cells if index[2] == layer]
        energy = sum(e for _, e in here)
        x_z, y_z = (sum(index[k] * e for index, e in here) / energy * scale[k] for k in (0, 1))
        distance = math.sqrt((x_z - x) ** 2 + (depth[layer] - z) ** 2)
        if distance <= 1e-6:
            continue
        m = (y_z - y) / distance
        weighted += layer * (math.pi / 2 - math.atan(-m if depth[layer] < z else m))
        weights += layer
    return weighted / weights if weights else math.nan


@pytest.mark.parametrize("grid", [CLIC, UNEVEN, CYLINDER], ids=lambda grid: grid.name)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_observables_equal_a_loop_over_cells(grid: Grid, data: st.DataObject) -> None:
    deposits = data.draw(deposits_on(grid))
    fast = observables(showers_of(deposits, grid))
    for shower, deposit in enumerate(deposits):
        expected = slow(deposit, grid, 1000.0)
        for name, values in fast.items():
            if values.ndim > 1:
                continue
            if "angle" in name and near_the_barycentre(deposit, grid):
                continue  # float32 and float64 may disagree whether a layer lies on the barycentre
            scale = {"moment2": 10, "moment3": 100}.get(name.split("_")[0], 1)
            wanted = expected.get(name, math.nan)
            far = ("width", "length", "mean_radius", "radius")
            close = 2e-3 if name.startswith(far) else 2e-5
            assert values[shower] == pytest.approx(wanted, rel=1e-4, abs=close * scale, nan_ok=True), (
                name
            )


def near_the_barycentre(deposit: NDArray[np.float32], grid: Grid) -> bool:
    total = deposit.sum(dtype=np.float64)
    if total == 0:
        return False
    layers = deposit.sum(axis=(0, 1), dtype=np.float64)
    return any(
        bool(np.abs(place[layers > 0] - (layers * place).sum() / total).min() < 1e-2)
        for place in (np.arange(len(layers)), np.asarray(grid.depths_mm))
    )


@settings(deadline=None, max_examples=30)
@given(deposits=deposits_on(CLIC))
def test_profiles_and_spectrum_equal_a_loop_over_cells(deposits: NDArray[np.float32]) -> None:
    found = observables(showers_of(deposits))
    for shower, deposit in enumerate(deposits):
        for axis, name in enumerate("xyz"):
            expected = np.zeros(CLIC.shape[axis])
            spectrum = np.zeros(len(SPECTRUM_EDGES_MEV) - 1)
            for index, e in np.ndenumerate(deposit):
                expected[index[axis]] += e
                if e > 0:
                    spectrum[math.floor(10 * (math.log10(e) + 6) + 1e-6)] += 1
            np.testing.assert_allclose(found[f"profile_{name}"][shower], expected, rtol=1e-5)
            # A deposit on the edge of a bin may fall to either side.
            assert np.abs(np.cumsum(found["cell_energy"][shower]) - np.cumsum(spectrum)).max() <= 1


@pytest.mark.parametrize("grid", [CLIC, UNEVEN, CYLINDER], ids=lambda grid: grid.name)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_layers_and_rings_equal_a_loop_over_cells(grid: Grid, data: st.DataObject) -> None:
    deposits = data.draw(deposits_on(grid))
    found = observables(showers_of(deposits, grid))
    assert grid.cell_size is not None
    first, second = grid.cell_size
    for shower, deposit in enumerate(deposits):
        for z in range(grid.n_layers):
            here = [(index, float(e)) for index, e in np.ndenumerate(deposit[:, :, z]) if e > 0]
            seen = sum(e >= grid.threshold_MeV for _, e in here)
            assert found["layer_sparsity"][shower, z] == pytest.approx(1 - seen / deposit[:, :, z].size)
            if not here:
                assert np.isnan(found["layer_x"][shower, z])
                assert np.isnan(found["layer_width_y"][shower, z])
                continue
            points = [
                ((i - grid.shape[0] // 2) * first, (j - grid.shape[1] // 2) * second)
                if grid.cartesian
                else (
                    (i + 0.5) * first * math.cos((j + 0.5) * second - math.pi),
                    (i + 0.5) * first * math.sin((j + 0.5) * second - math.pi),
                )
                for (i, j), _ in here
            ]
            energies = [e for _, e in here]
            for axis, values in zip("xy", np.array(points).T, strict=True):
                mean = np.average(values, weights=energies)
                width = math.sqrt(np.average((values - mean) ** 2, weights=energies))
                assert found[f"layer_{axis}"][shower, z] == pytest.approx(mean, abs=1e-4)
                assert found[f"layer_width_{axis}"][shower, z] == pytest.approx(width, abs=2e-3)
        assert found["radial_profile"][shower].sum() <= found["total_deposit"][shower] * (1 + 1e-6)


def test_rings_around_a_tilted_axis_do_not_see_the_tilt() -> None:
    """A line of deposits along the incident direction lies in the innermost ring, at any angle."""
    grid = Grid("line", (3, 41, 11), cell_size=(5.0, 0.5), layer_pitch_mm=5.0)
    deposits = np.zeros((1, *grid.shape))
    for z in range(11):
        deposits[0, 1, 20 + 2 * (z - 5), z] = 1.0  # 1 mm in y for 5 mm of depth
    showers = showers_of(deposits, grid)
    aimed = replace(showers, incident_theta=np.array([math.pi / 2 - math.atan(0.2)], np.float32))
    assert observables(aimed)["mean_radius"][0] == pytest.approx(0, abs=1e-4)
    assert observables(aimed)["radial_profile"][0, 0] == pytest.approx(11)
    straight = replace(showers, incident_theta=np.array([math.pi / 2], np.float32))
    assert observables(straight)["mean_radius"][0] == pytest.approx(30 / 11, rel=1e-5)
    assert observables(straight)["radius_90"][0] == pytest.approx(5, rel=1e-5)


def test_containment_radii_are_those_of_known_rings() -> None:
    """92 % in the middle and 8 % on a ring of 4 cells: the one radius is zero, the other the ring's."""
    grid = Grid("rings", (9, 9, 3), cell_size=(5.0, 5.0), layer_pitch_mm=3.0)
    deposits = np.zeros((1, *grid.shape))
    deposits[0, 4, 4, 1] = 92.0
    for x, y in ((1, 4), (7, 4), (4, 1), (4, 7)):
        deposits[0, x, y, 1] = 2.0
    upright = np.array([math.pi / 2], np.float32)
    found = observables(replace(showers_of(deposits, grid), incident_theta=upright))
    assert found["radius_90"][0] == pytest.approx(0, abs=1e-4)
    assert found["radius_95"][0] == pytest.approx(15)


@pytest.mark.parametrize("layer", [0, 3, 6])
def test_a_point_in_a_layer_lies_behind_the_materials_before_it(layer: int) -> None:
    deposits = np.zeros((1, *CLIC.shape))
    deposits[0, 1, 1, layer] = 3.0
    by_hand = (layer + 1) * 2.4 / 3.504 + (layer + 0.5) * 0.5 / 93.7
    assert observables(showers_of(deposits))["barycentre_X0"][0] == pytest.approx(by_hand)


def test_offsets_are_measured_from_the_particles_line() -> None:
    grid = Grid("line", (3, 41, 11), cell_size=(5.0, 0.5), layer_pitch_mm=5.0)
    deposits = np.zeros((1, *grid.shape))
    deposits[0, 2, 26, 4] = 1.0  # x = 5 mm, y = 3 mm, 22.5 mm deep
    showers = replace(
        showers_of(deposits, grid),
        incident_theta=np.array([math.pi / 2 - math.atan(0.1)], np.float32),
        impact_xy=np.array([[1.0, 0.25]], np.float32),
    )
    found = observables(showers)
    assert found["offset_x"][0] == pytest.approx(4)
    assert found["offset_y"][0] == pytest.approx(3 - 0.25 - 2.25, rel=1e-5)
    assert "offset_x" not in observables(showers_of(deposits, grid))


def test_another_azimuth_is_the_same_shower_turned() -> None:
    """What lies along x for phi = 0 lies along y for phi = pi/2: lengths around the axis are the same."""
    rng = np.random.default_rng(5)
    grid = Grid("square", (9, 9, 6), cell_size=(5.0, 5.0), layer_pitch_mm=4.0, threshold_MeV=0.001)
    deposits = rng.exponential(1, (20, *grid.shape)) * (rng.random((20, *grid.shape)) < 0.2)
    impact = rng.uniform(-2, 2, (20, 2)).astype(np.float32)
    theta = rng.uniform(0.8, 2.3, 20).astype(np.float32)
    usual = replace(showers_of(deposits, grid), incident_theta=theta, impact_xy=impact)
    turned = replace(
        showers_of(deposits.swapaxes(1, 2), grid),
        incident_theta=theta,
        impact_xy=impact[:, ::-1],
        incident_phi=np.zeros(20, np.float32),
    )
    mirrored = replace(
        showers_of(deposits[:, :, ::-1], grid),
        incident_theta=theta,
        impact_xy=impact * np.array([1, -1], np.float32),
        incident_phi=np.full(20, -math.pi / 2, np.float32),
    )
    one, two, three = map(observables, (usual, turned, mirrored))
    for name in ("mean_radius", "radius_90", "radius_95", "radial_profile"):
        for other in (two, three):
            np.testing.assert_allclose(other[name], one[name], rtol=1e-4, atol=1e-4)
    for name, of_x in (
        ("offset_y", "offset_x"),
        ("angle_error", "angle_error_x"),
        ("axis_angle", "axis_angle_x"),
    ):
        np.testing.assert_allclose(two[of_x], one[name], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(two[name], one[of_x], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(three["offset_y"], -one["offset_y"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(three["angle_error"], -one["angle_error"], rtol=1e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.8, 2.3), st.floats(-6, 6))
def test_a_straight_line_has_no_error_of_place_and_angle(theta: float, phi: float) -> None:
    grid = Grid("line", (201, 201, 4), cell_size=(0.25, 0.25), layer_pitch_mm=5.0)
    depth = 5.0 * (np.arange(4) + 0.5)  # no layer on the barycentre
    x = 1.0 + depth * math.cos(phi) / math.tan(theta)
    y = -2.0 + depth * math.sin(phi) / math.tan(theta)
    deposits = np.zeros((1, *grid.shape), np.float32)
    deposits[0, np.round(x / 0.25).astype(int) + 100, np.round(y / 0.25).astype(int) + 100, range(4)] = 1
    found = observables(
        replace(
            showers_of(deposits, grid),
            incident_theta=np.array([theta], np.float32),
            incident_phi=np.array([phi], np.float32),
            impact_xy=np.array([[1.0, -2.0]], np.float32),
        )
    )
    # Lines are known to half a cell, angles to a cell over the distance of a layer.
    for name in ("offset_x", "offset_y", "mean_radius"):
        assert found[name][0] == pytest.approx(0, abs=0.2)
    for name in ("angle_error", "angle_error_x"):
        assert found[name][0] == pytest.approx(0, abs=0.08)


def test_every_observable_is_defined_and_complete() -> None:
    cartesian = replace(showers_of(np.ones((1, 4, 3, 7))), impact_xy=np.zeros((1, 2), np.float32))
    both = set(observables(cartesian)) | set(observables(showers_of(np.ones((1, 3, 4, 6)), CYLINDER)))
    assert both == {name for name, definition in OBSERVABLES.items() if not definition.learned}
    for name, definition in OBSERVABLES.items():
        assert definition.title, name
        assert definition.meaning.endswith((".", ")")), name
        assert definition.unit in (
            "MeV",
            "1",
            "cell",
            "cells",
            "cell²",
            "cell³",
            "mm",
            "rad",
            "layer",
            "X₀",
        ), name


def test_a_single_cell_has_a_position_and_no_width() -> None:
    deposits = np.zeros((1, 4, 3, 7))
    deposits[0, 3, 1, 4] = 20.0
    found = observables(showers_of(deposits))
    assert [found[f"maximum_{axis}"][0] for axis in "xyz"] == [3, 1, 4]
    assert [found[f"moment1_{axis}"][0] for axis in "xyz"] == [3, 1, 4]
    assert [found[name][0] for name in ("width_x", "width_y", "width_across", "length")] == [0] * 4
    assert found["barycentre_depth"][0] == pytest.approx(4.5 * 3.5)
    assert (found["hits"][0], found["sampling_fraction"][0]) == (1, pytest.approx(0.02))
    assert found["fraction_back"][0] == 1
    assert np.isnan(found["measured_angle"][0])  # one point has no direction


@settings(deadline=None, max_examples=20)
@given(shift=st.integers(0, 3), seed=st.integers(0, 100))
def test_a_shifted_shower_moves_its_position_and_keeps_its_shape(shift: int, seed: int) -> None:
    grid = Grid("wide", (9, 8, 10), cell_size=(5.1, 5.1), layer_pitch_mm=3.5)
    deposits = np.zeros((1, *grid.shape))
    deposits[0, 2:5, 2:5, 2:6] = np.random.default_rng(seed).exponential(1, (3, 3, 4))
    moved = np.roll(deposits, (shift, shift, shift), (1, 2, 3))
    before, after = observables(showers_of(deposits, grid)), observables(showers_of(moved, grid))
    for axis in "xyz":
        assert after[f"moment1_{axis}"][0] == pytest.approx(before[f"moment1_{axis}"][0] + shift)
        assert after[f"maximum_{axis}"][0] == before[f"maximum_{axis}"][0] + shift
        assert after[f"moment2_{axis}"][0] == pytest.approx(before[f"moment2_{axis}"][0], rel=1e-4)
    assert after["width_across"][0] == pytest.approx(before["width_across"][0], rel=1e-4)
    assert after["total_deposit"][0] == pytest.approx(before["total_deposit"][0], rel=1e-6)


@pytest.mark.parametrize("slope", [-1, 0, 1], ids=lambda slope: f"slope {slope}")
def test_a_tilted_line_gives_its_angle(slope: int) -> None:
    """A line through cell centres, y = slope z, has the angle pi/2 - atan(slope) in cells."""
    n = 11
    grid = Grid("line", (3, 2 * n, n), cell_size=(5.1, 7.0), layer_pitch_mm=3.5)
    deposits = np.zeros((1, *grid.shape))
    for z in range(n):
        deposits[0, 1, n + slope * (z - n // 2), z] = 5.0
    found = observables(showers_of(deposits, grid))
    assert found["measured_angle"][0] == pytest.approx(math.pi / 2 - math.atan(slope))
    assert found["axis_angle"][0] == pytest.approx(math.pi / 2 - math.atan(2 * slope))


def test_showers_without_deposit_are_zero_or_undefined_and_warn_nobody() -> None:
    found = observables(showers_of(np.zeros((3, *CLIC.shape))))
    zero = {"total_deposit", "sampling_fraction", "occupancy", "cell_energy", "radial_profile"}
    assert (found.pop("layer_sparsity") == 1).all()
    for name, values in found.items():
        if name in zero or name.startswith(("profile_", "hits")):
            assert (values == 0).all(), name
        else:
            assert np.isnan(values).all(), name


def test_no_showers_give_empty_arrays() -> None:
    found = observables(showers_of(np.zeros((0, *CLIC.shape))))
    assert {len(values) for values in found.values()} == {0}
    assert {
        axis: profile.shape
        for axis, profile in mean_profiles(showers_of(np.zeros((0, 4, 3, 7)))).items()
    } == {
        "x": (4,),
        "y": (3,),
        "z": (7,),
    }


def test_hits_count_from_the_threshold_on() -> None:
    deposits = np.zeros((1, *CLIC.shape))
    deposits[0, 0, 0, :4] = [0.05, 0.1, 0.2999, 0.31]
    found = observables(showers_of(deposits))
    assert (found["hits"][0], found["hits_100keV"][0], found["hits_300keV"][0]) == (3, 3, 1)
    free = observables(showers_of(deposits, replace(CLIC, threshold_MeV=0.0)))
    assert free["hits"][0] == 4


def test_lengths_need_known_cells() -> None:
    unknown = Grid("unknown", CLIC.shape)
    found = observables(showers_of(np.ones((1, *CLIC.shape)), unknown))
    assert not {"width_x", "width_across", "barycentre_depth", "length", "axis_angle"} & set(found)
    assert not {"radius_95", "barycentre_X0"} & set(found)
    assert not {"mean_radius", "radial_profile", "layer_x", "barycentre_x", "angle_error"} & set(found)
    assert "measured_angle" in found


def test_width_across_a_cylinder_is_that_of_its_points_in_the_plane() -> None:
    """Two opposite cells at radius r lie 2 r apart, wherever the index of phi starts."""
    deposits = np.zeros((1, *CYLINDER.shape))
    deposits[0, 2, 0, 1] = deposits[0, 2, 2, 1] = 1.0
    found = observables(showers_of(deposits, CYLINDER))
    assert found["width_across"][0] == pytest.approx(2.5 * 4.65)


def test_sampling_fraction_by_energy_is_the_mean_in_each_bin() -> None:
    deposits = np.zeros((3, *CLIC.shape))
    deposits[:, 1, 1, 1] = [10, 30, 80]
    showers = replace(showers_of(deposits), incident_energy=np.array([1000, 1000, 2000], np.float32))
    fractions = sampling_fraction_by_energy(showers, np.array([500.0, 1500.0, 2500.0, 3500.0]))
    np.testing.assert_allclose(fractions, [0.02, 0.04, np.nan])
    assert mean_profiles(showers)["z"][1] == pytest.approx(40)


@pytest.mark.process
def test_the_cheap_functions_load_no_drawing_library() -> None:
    program = "import sys; import caloforge.observables.definitions; print('matplotlib' in sys.modules, 'hist' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
