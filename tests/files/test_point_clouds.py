from __future__ import annotations

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import Caloforge
from edm4hep_samples import public_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shower_samples import write_datasets

import caloforge as cf
from caloforge.detector import load_detector
from caloforge.files.layouts.convert import How, convert, layout_of
from caloforge.foundations.errors import CaloforgeError, UsageError

ILD = load_detector("ild-ecal")


def cloud(
    path: Path, depth: int = 1, entry: tuple[float, float] = (0.0, 0.0), seed: int = 1
) -> dict[str, np.ndarray]:
    """Write two clouds of points in cells of ILD, padded with zeros; return what they should become."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, ILD.grid.shape, (2, 40, 3))
    energy = rng.exponential(1e-3, (2, 40)) * (rng.random((2, 40)) < 0.8)
    events = np.zeros((2, 40, 4))
    inside = rng.uniform(-0.49, 0.49, (2, 40, 2))
    first, second = (depth + 1) % 3, (depth + 2) % 3
    events[:, :, first] = (cells[:, :, 0] - 39 + inside[:, :, 0]) * 5.0883 + entry[0]
    events[:, :, second] = (cells[:, :, 1] - 39 + inside[:, :, 1]) * 5.0883 + entry[1]
    events[:, :, depth] = cells[:, :, 2] + rng.random((2, 40))
    events[:, :, 3] = energy
    events[energy == 0] = 0
    direction = np.array([[0.1, 0.2, 0.9], [0.0, 0.0, 1.0]]).T
    write_datasets(
        path, events=events.astype("f4"), energy=np.array([[10.0], [20.0]]), p_norm_local=direction
    )
    deposits = np.zeros((2, *ILD.grid.shape))
    np.add.at(deposits, (np.arange(2)[:, None], *np.moveaxis(cells, 2, 0)), 1000 * energy)
    return {"deposits": deposits, "direction": direction.T}


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2), st.tuples(st.floats(-50, 50), st.floats(-50, 50)), st.integers(0, 9))
def test_points_go_to_the_cells_that_they_lie_in(
    tmp_path: Path, depth: int, entry: tuple[float, float], seed: int
) -> None:
    expected = cloud(tmp_path / "in.h5", depth, entry, seed)
    face = [0.0, 0.0, 0.0]
    face[(depth + 1) % 3], face[(depth + 2) % 3] = entry
    told = convert(
        [tmp_path / "in.h5"],
        tmp_path / "out.h5",
        How(detector=ILD, face=(face[0], face[1], face[2]), particle=22),
    )
    showers = cf.read(tmp_path / "out.h5")
    np.testing.assert_allclose(showers.deposits, expected["deposits"], rtol=1e-4)
    assert told["energy_outside_MeV"] == 0
    assert told["layout"] == layout_of(tmp_path / "in.h5") == "points"
    assert showers.incident_energy.tolist() == [10e3, 20e3]
    assert showers.conditions.particle.tolist() == [22, 22]
    theta, phi = showers.incident_theta, showers.conditions.phi
    found = np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)], axis=1)
    norm = np.linalg.norm(expected["direction"], axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected["direction"] / norm, atol=1e-6)
    assert phi[1] == np.float32(math.pi / 2)  # at normal incidence there is no azimuth


def test_points_beyond_the_cells_are_told(tmp_path: Path) -> None:
    events = np.zeros((1, 4, 4))
    events[0, :3] = [[0, 0.5, 0, 0.001], [300, 3.5, 0, 0.003], [0, 5, 300, 0.004]]
    write_datasets(tmp_path / "in.h5", events=events, energy=np.array([1.0]))
    told = convert([tmp_path / "in.h5"], tmp_path / "out.h5", How(detector=ILD))
    assert told["energy_outside_MeV"] == pytest.approx(7)
    assert told["energy_outside_fraction"] == pytest.approx(7 / 8)
    assert (
        "7 MeV, 87.5 % of the energy of all hits, lie outside of the cells of ild-ecal"
        in told["remarks"]
    )
    assert any("normal incidence" in remark for remark in told["remarks"])
    assert any("--particle" in remark for remark in told["remarks"])
    assert cf.read(tmp_path / "out.h5").deposits[0, 39, 39, 0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            {"events": np.full((2, 5, 4), 0.5)},
            UsageError,
            "expected one coordinate from 0 to 30, the layers of ild-ecal, found x and y and z",
        ),
        (
            {"events": np.full((2, 5, 4), -1.0)},
            CaloforgeError,
            "expected finite places and deposits >= 0, shower 0, point 0",
        ),
        (
            {"events": np.full((2, 5, 4), np.nan)},
            CaloforgeError,
            "expected finite places and deposits >= 0, shower 0",
        ),
        (
            {"energy": np.ones((3, 1))},
            CaloforgeError,
            "field energy: expected 2 rows as in events, found 3",
        ),
        ({"energy": np.zeros((2, 1))}, CaloforgeError, "field energy: expected 0 < E"),
        (
            {"p_norm_local": np.zeros((3, 2))},
            CaloforgeError,
            "field p_norm_local: expected directions into the calorimeter, shower 0",
        ),
        (
            {"p_norm_local": np.ones((2, 3))},
            CaloforgeError,
            r"field p_norm_local: expected shape \(3, 2\)",
        ),
    ],
)
def test_clouds_that_are_wrong_are_one_line(
    tmp_path: Path, change: dict[str, np.ndarray], kind: type[CaloforgeError], message: str
) -> None:
    cloud(tmp_path / "in.h5")
    with h5py.File(tmp_path / "in.h5", "r+") as file:
        for name, values in change.items():
            del file[name]
            file[name] = values
    with pytest.raises(kind, match=message):
        convert([tmp_path / "in.h5"], tmp_path / "out.h5", How(detector=ILD))
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.h5"]


def test_the_public_clouds_of_ild_keep_their_energy(tmp_path: Path, caloforge: Caloforge) -> None:
    path = public_file("ild-photons-calohits.hdf5")
    words = ["--detector", "ild-ecal", "--face", "0,0,40", "--particle", "gamma", "--json"]
    ran = caloforge("convert", path, *words, "-o", tmp_path / "out.h5")
    assert ran.code == 0, ran.err
    showers, told = cf.read(tmp_path / "out.h5"), json.loads(ran.out)
    with h5py.File(path) as file:
        events, energy = file["events"][:].astype(np.float64), file["energy"][:, 0]
    np.testing.assert_allclose(showers.incident_energy, 1000 * energy, rtol=1e-6)
    assert told["energy_outside_MeV"] == 0
    for number, points in enumerate(events):
        layer = np.floor(points[:, 1]).astype(int)
        profile = np.bincount(layer, 1000 * points[:, 3], minlength=30)
        np.testing.assert_allclose(
            showers.deposits[number].sum(axis=(0, 1)), profile, rtol=1e-5, atol=1e-9
        )
        x = 5.0883 * (np.arange(79) - 39)
        by_z, by_x = showers.deposits[number].sum(axis=(1, 2)), showers.deposits[number].sum(axis=(0, 2))
        total = points[:, 3].sum()
        assert (by_x @ x) / by_x.sum() == pytest.approx((points[:, 0] @ points[:, 3]) / total, abs=2.6)
        assert (by_z @ x) / by_z.sum() == pytest.approx(
            (points[:, 2] @ points[:, 3]) / total - 40, abs=2.6
        )
