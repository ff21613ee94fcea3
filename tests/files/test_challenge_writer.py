"""Showers in the CaloChallenge's own layout come back as they were."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caloforge as cf
from caloforge.detector import Grid, load_detector
from caloforge.detector.grid import CYLINDRICAL
from caloforge.files.layouts.convert import How, convert
from caloforge.foundations.errors import UsageError
from caloforge.showers import Showers

OUT = How("calochallenge")


def showers_of(name: str, n: int, seed: int) -> Showers:
    rng = np.random.default_rng(seed)
    grid = load_detector(name).grid
    deposits = rng.gamma(0.3, 20.0, (n, *grid.shape)) * (rng.random((n, *grid.shape)) < 0.2)
    return Showers(
        deposits.astype(np.float32),
        rng.uniform(1e3, 1e6, n).astype(np.float32),
        np.full(n, math.pi / 2, np.float32),
        grid,
        pdg_id=np.full(n, 11, np.int32),
    )


@settings(deadline=None, max_examples=8)
@given(st.sampled_from(["calochallenge-2", "calochallenge-3"]), st.integers(0, 40), st.integers(0, 99))
def test_showers_survive_the_challenges_layout(name: str, n: int, seed: int) -> None:
    showers = showers_of(name, n, seed)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, back = (Path(folder) / f"{file}" for file in ("a.h5", "b.hdf5", "c.h5"))
        cf.write(ours, showers)
        convert([ours], theirs, OUT)
        convert([theirs], back)
        read = cf.read(back)
        with h5py.File(theirs) as file:
            assert file["showers"].shape == (n, showers.grid.n_cells)
            assert file["incident_energies"].shape == (n, 1)
            if n:  # r runs fastest, then alpha, then the layers
                r, alpha, layer = 5, 3, 20
                n_r, n_alpha, _ = showers.grid.shape
                voxel = file["showers"][n - 1, (layer * n_alpha + alpha) * n_r + r]
                assert voxel == showers.deposits[n - 1, r, alpha, layer]
    np.testing.assert_array_equal(read.deposits, showers.deposits)
    np.testing.assert_array_equal(read.incident_energy, showers.incident_energy)
    np.testing.assert_array_equal(read.incident_theta, showers.incident_theta)
    if n:  # a file of no showers has no optional column
        np.testing.assert_array_equal(read.pdg_id, showers.pdg_id)
    assert read.grid == showers.grid
    assert read.grid.extra["layer_stacks"] == showers.grid.extra["layer_stacks"]


def test_several_files_become_one_in_order(tmp_path: Path) -> None:
    parts = [showers_of("calochallenge-2", n, seed) for n, seed in ((3, 1), (2, 2))]
    for i, part in enumerate(parts):
        cf.write(tmp_path / f"{i}.h5", part)
    convert([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "out.hdf5", OUT)
    with h5py.File(tmp_path / "out.hdf5") as file:
        expected = np.concatenate([part.incident_energy for part in parts])
        np.testing.assert_array_equal(file["incident_energies"][:, 0], expected)


TURNED = replace(load_detector("calochallenge-2").grid, extra={})
SMALL = Grid("small", (3, 4, 5), axes=CYLINDRICAL, extra={"phi_start_rad": -math.pi})
CLIC = load_detector("clic-ecal").grid


@pytest.mark.parametrize("grid", [TURNED, SMALL, CLIC], ids=["turned", "small", "cartesian"])
def test_other_cells_are_refused(tmp_path: Path, grid: Grid) -> None:
    none = np.zeros(1, np.float32)
    showers = Showers(np.zeros((1, *grid.shape), np.float32), none + 1e3, none + math.pi / 2, grid)
    cf.write(tmp_path / "a.h5", showers)
    with pytest.raises(UsageError, match="expected the cells of calochallenge-2 or calochallenge-3"):
        convert([tmp_path / "a.h5"], tmp_path / "b.hdf5", OUT)
    assert not (tmp_path / "b.hdf5").exists()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("incident_theta", np.full(2, 1.2, np.float32)),
        ("pdg_id", np.full(2, 22, np.int32)),
        ("impact_xy", np.full((2, 2), 1.0, np.float32)),
    ],
)
def test_what_the_layout_cannot_tell_is_refused(tmp_path: Path, name: str, values: object) -> None:
    cf.write(tmp_path / "a.h5", replace(showers_of("calochallenge-2", 2, 1), **{name: values}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"holds energies alone: expected {name}"):
        convert([tmp_path / "a.h5"], tmp_path / "b.hdf5", OUT)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
