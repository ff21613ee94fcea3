from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Caloforge
from shower_samples import SMALL_GRID, random_showers

import caloforge as cf
from caloforge.files.summary import summarize
from caloforge.showers import Showers


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two showers whose every figure is known: 3 hits of 10, 20 and 30 MeV, at 1 and 2 GeV."""
    deposits = np.zeros((2, 3, 4, 5), np.float32)
    deposits[0, 0, 0, 0], deposits[1, 2, 3, 4], deposits[1, 0, 1, 2] = 10, 20, 30
    showers = Showers(
        deposits,
        np.array([1000, 2000], np.float32),
        np.array([1.25, 1.5], np.float32),
        SMALL_GRID,
        incident_phi=np.array([-0.5, 0.75], np.float32),
        impact_xy=np.array([[0, -2], [1, 2]], np.float32),
        pdg_id=np.array([22, -11], np.int32),
        provenance={"program": "by hand"},
    )
    cf.write(tmp_path / "two.h5", showers)
    return tmp_path / "two.h5"


def test_figures_of_a_known_file(two: Path) -> None:
    reports: list[tuple[int, int]] = []
    assert summarize(two, lambda done, total, **_: reports.append((done, total))) == {
        "file": str(two),
        "sha256": hashlib.sha256(two.read_bytes()).hexdigest(),
        "showers": 2,
        "shape": [3, 4, 5],
        "axes": ["x", "y", "z"],
        "units": {
            "showers": "MeV",
            "incident_energy": "MeV",
            "incident_theta": "rad",
            "incident_phi": "rad",
            "impact_xy": "mm",
            "pdg_id": "1",
        },
        "detector": SMALL_GRID.to_json(),
        "incident_energy_MeV": [1000, 2000],
        "incident_theta_rad": [1.25, 1.5],
        "incident_phi_rad": [-0.5, 0.75],
        "impact_x_mm": [0, 1],
        "impact_y_mm": [-2, 2],
        "particles": {"-11": 1, "22": 1},
        "positive_deposit_MeV": [10, 30],
        "occupancy": 3 / 120,
        "mean_hits": 1.5,
        "mean_deposit_MeV": 30,
        "sampling_fraction": 60 / 3000,
        "warnings": [],
        "provenance": {"program": "by hand"},
        "digest": cf.files.shower_file.ShowerFile(two).digest,
        "integrity": "every value read and checked, and the digest compared",
    }
    assert reports[-1] == (2, 2)


def test_a_pion_may_leave_its_mass(two: Path) -> None:
    """Of 1 GeV each, 2.2 GeV are left: what two neutral pions bring, and no two electrons."""
    showers = cf.read(two)
    pions = replace(
        showers,
        deposits=showers.deposits * np.float32(37.5),
        incident_energy=np.full(2, 1000, np.float32),
    )
    for pdg, doubts in ((111, 0), (11, 1)):
        cf.write(two, replace(pions, pdg_id=np.full(2, pdg, np.int32)))
        assert len(summarize(two)["warnings"]) == doubts


def test_a_file_without_showers_has_a_summary(tmp_path: Path) -> None:
    cf.write(tmp_path / "none.h5", random_showers(3)[:0])
    summary = summarize(tmp_path / "none.h5")
    assert summary["showers"] == 0
    assert summary["incident_energy_MeV"] is None
    assert summary["positive_deposit_MeV"] is None
    assert summary["sampling_fraction"] is None


def test_inspect_tells_people_in_their_units(two: Path, caloforge: Caloforge) -> None:
    lines = [line.strip() for line in caloforge("inspect", two).out.splitlines()]
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in lines[1:])
    assert lines[0] == str(two)
    assert rows["showers"] == "2"
    assert rows["detector"] == "small, 3 x 4 x 5 cells (x, y, z)"
    assert rows["cell"] == "5.1 x 5.1 mm, a layer every 3.5 mm"
    assert rows["incident energy"] == "1 to 2 GeV"
    assert rows["angle to the face"] == "71.6 to 85.9 degrees"
    assert rows["azimuth"] == "-28.6 to 43 degrees"
    assert rows["impact y"] == "-2 to 2 mm"
    assert rows["deposit of a hit"] == "10 to 30 MeV"
    assert rows["particles"] == "1 e+, 1 gamma"
    assert rows["mean hits"] == "1.5, 2.5 % of the cells"
    assert rows["mean deposit"] == "30 MeV"
    assert rows["sampling fraction"] == "0.02"
    assert rows["program"] == "by hand"


def test_inspect_prints_the_summary(two: Path, caloforge: Caloforge) -> None:
    ran = caloforge("inspect", two, "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == summarize(two)
    plain = caloforge("inspect", two)
    assert "1.5, 2.5 % of the cells\n" in plain.out
    assert plain.err == "" or plain.err.startswith("inspect: 2/2")


def test_the_showers_that_ship_are_whole_and_plausible() -> None:
    data = Path(cf.__file__).parent / "data"
    for name, count in (("clic-ecal-train.h5", 650), ("clic-ecal-test.h5", 400)):
        summary = summarize(data / name)
        assert summary["showers"] == count
        assert summary["shape"] == [25, 25, 25]
        assert 0.020 < summary["sampling_fraction"] < 0.022
        assert summary["incident_energy_MeV"][0] > 10e3
        assert summary["incident_energy_MeV"][1] < 500e3
