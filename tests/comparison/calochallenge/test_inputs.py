"""What the CaloChallenge's judges see, beside a second implementation that loops over voxels."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shower_samples import PHOTON_LAYERS, PION_LAYERS, random_showers

from caloforge.comparison.calochallenge import inputs
from caloforge.comparison.calochallenge.inputs import layer_observables, read_inputs
from caloforge.detector import Grid
from caloforge.files import shower_writer
from caloforge.files.layouts.binning import Binning, Layer
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError
from caloforge.observables.sparse_showers import SparseShowers

Array = NDArray[np.float64]

CARTESIAN = Grid("square", (5, 7, 3), cell_size=(2.0, 3.0))
CYLINDER = Grid("round", (4, 6, 3), ("r", "phi", "layer"), cell_size=(4.65, 2 * math.pi / 6))


def binned(layers: tuple[tuple[int, str, int], ...]) -> Grid:
    """Make the grid of data set 1, whose layers are binned each in its own way."""
    read = (Layer(i, tuple(map(float, edges.split(","))), n) for i, edges, n in layers if "," in edges)
    return Binning("photon", 22, tuple(read)).grid()


def voxels_of(grid: Grid) -> list[list[tuple[tuple[int, int, int], tuple[float, float, float]]]]:
    """List each layer's voxels: cell; x, y, r (mm)."""
    layers = []
    for layer in range(grid.n_layers):
        found = []
        if grid.cartesian:
            assert grid.cell_size is not None
            for i in range(grid.shape[0]):
                for j in range(grid.shape[1]):
                    x = (i - grid.shape[0] // 2) * grid.cell_size[0]
                    y = (j - grid.shape[1] // 2) * grid.cell_size[1]
                    found.append(((i, j, layer), (x, y, math.hypot(x, y))))
        else:
            default = [4.65 * k for k in range(grid.shape[0] + 1)]
            edges = grid.extra["r_edges_mm"][layer] if grid.extra else default
            n_alpha = grid.extra["bins_per_layer"][layer][1] if grid.extra else grid.shape[1]
            for i in range(len(edges) - 1):
                for j in range(n_alpha):
                    r, alpha = (
                        (edges[i] + edges[i + 1]) / 2,
                        -math.pi + (j + 0.5) * 2 * math.pi / n_alpha,
                    )
                    found.append(((i, j, layer), (r * math.cos(alpha), r * math.sin(alpha), r)))
        layers.append(found)
    return layers


def slowly(deposits: NDArray[np.float32], energy: float, grid: Grid) -> list[float]:
    """Compute one shower's observables voxel by voxel."""
    groups: list[list[float]] = [[] for _ in range(8)]
    energies, centre_x, centre_y, width_x, width_y, sparsity, centre_r, width_r = groups
    total = 0.0
    for voxels in voxels_of(grid):
        values = [float(deposits[cell]) for cell, _ in voxels]
        layer = sum(values)
        total += layer
        energies.append(math.log10(layer + 1e-8))
        sparsity.append(1 - sum(value > 0 for value in values) / len(values))
        several = grid.cartesian or max(cell[1] for cell, _ in voxels) > 0
        for axis, centre, width in (
            (0, centre_x, width_x),
            (1, centre_y, width_y),
            (2, centre_r, width_r),
        ):
            if axis < 2 and not several:
                continue
            places = [place[axis] for _, place in voxels]
            mean = sum(v * p for v, p in zip(values, places, strict=True)) / (layer + 1e-16)
            square = sum(v * p * p for v, p in zip(values, places, strict=True)) / (layer + 1e-16)
            centre.append(mean / 100)
            width.append(math.sqrt(max(square - mean**2, 0)) / 100)
    first = [math.log10(energy), *energies, *centre_x, *centre_y, *width_x, *width_y]
    return [*first, math.log10(total + 1e-8), *sparsity, *centre_r, *width_r]


def random_deposits(grid: Grid, n: int, seed: int = 0) -> NDArray[np.float32]:
    """Fill voxels that exist, here and there; the last shower is empty."""
    rng = np.random.default_rng(seed)
    deposits = np.zeros((n, *grid.shape), np.float32)
    for voxels in voxels_of(grid):
        for cell, _ in voxels:
            deposits[(slice(None), *cell)] = rng.exponential(3, n) * (rng.random(n) < 0.4)
    deposits[-1] = 0
    return deposits


@pytest.mark.parametrize(
    "grid",
    [CARTESIAN, CYLINDER, binned(PHOTON_LAYERS), binned(PION_LAYERS)],
    ids=["square", "round", "photons", "pions"],
)
def test_observables_are_those_of_a_loop_over_voxels(grid: Grid) -> None:
    deposits, energy_N = random_deposits(grid, 4), np.array([1e3, 2e4, 3e5, 1e6])
    found = layer_observables(SparseShowers.of(deposits), energy_N, grid)
    expected = [slowly(image, energy, grid) for image, energy in zip(deposits, energy_N, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(st.permutations(range(5)), st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_showers_may_be_in_any_order_and_in_any_unit(order: list[int], factor: float) -> None:
    deposits, energy_N = random_deposits(CYLINDER, 6)[:5], np.geomspace(1e3, 1e6, 5)
    table = layer_observables(SparseShowers.of(deposits), energy_N, CYLINDER)
    scaled = (deposits[order] * factor).astype(np.float32)
    again = layer_observables(SparseShowers.of(scaled), factor * energy_N[order], CYLINDER)
    n_layers = CYLINDER.n_layers
    logarithms = np.zeros(table.shape[1], bool)
    logarithms[[*range(1 + n_layers), 1 + 5 * n_layers]] = True
    np.testing.assert_allclose(again[:, ~logarithms], table[order][:, ~logarithms], atol=1e-5)
    moved = again[:, logarithms] - table[order][:, logarithms]
    np.testing.assert_allclose(moved, math.log10(factor), atol=1e-5)


def test_voxels_are_fractions_of_the_incident_energy_above_the_threshold(tmp_path: Path) -> None:
    showers = random_showers(7)
    shower_writer.write(tmp_path / "x.h5", showers)
    with ShowerFile(tmp_path / "x.h5") as file:
        grid = Grid("small", file.grid.shape, cell_size=(5.1, 5.1), threshold_MeV=1.5)
        found = read_inputs(file, grid)
    seen = np.where(showers.deposits >= 1.5, showers.deposits, 0).reshape(7, -1)
    np.testing.assert_allclose(found.hits.dense(), seen / showers.incident_energy[:, None], rtol=1e-6)
    np.testing.assert_allclose(10**found.log_energy_N, showers.incident_energy, rtol=1e-6)
    part = found.take(np.array([5, 2]))
    np.testing.assert_array_equal(part.observables_NF, found.observables_NF[[5, 2]])
    np.testing.assert_array_equal(part.hits.dense(), found.hits.dense()[[5, 2]])


def test_of_a_larger_file_some_showers_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shower_writer.write(tmp_path / "x.h5", random_showers(40))
    monkeypatch.setattr(inputs, "MAX_SHOWERS", 12)
    monkeypatch.setattr(inputs, "CELLS_AT_ONCE", 300)
    with ShowerFile(tmp_path / "x.h5") as file:
        found = read_inputs(file, file.grid)
        energies = np.log10(file.conditions.incident_energy.astype(np.float64))
    assert len(found) == 12
    assert set(found.log_energy_N) < set(energies)
    assert not np.array_equal(found.log_energy_N, energies[:12])


@pytest.mark.parametrize(
    "extra",
    [
        {"r_edges_mm": 3},
        {"r_edges_mm": [[0, 1, 2, 3, 4]] * 2},
        {"r_edges_mm": [[0, 1, "x", 3, 4]] * 3},
        {"r_edges_mm": [[0, 2, 1, 3, 4]] * 3},
        {"bins_per_layer": [[4, 7]] * 3},
        {"bins_per_layer": [[4, 6.5]] * 3},
        {"bins_per_layer": [None] * 3},
    ],
)
def test_a_binning_that_cannot_be_is_named(extra: dict[str, object]) -> None:
    grid = Grid("odd", CYLINDER.shape, CYLINDER.axes, CYLINDER.cell_size, extra=extra)
    hits = SparseShowers.of(random_deposits(CYLINDER, 2))
    with pytest.raises(
        CaloforgeError, match="detector 'odd', fields r_edges_mm and bins_per_layer"
    ) as told:
        layer_observables(hits, np.ones(2), grid)
    assert "\n" not in str(told.value)
