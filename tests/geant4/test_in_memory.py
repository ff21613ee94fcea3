"""Geant4 from Python: the showers of the command, in MeV, mm and rad."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import Caloforge

import caloforge as cf
from caloforge.detector import load_detector
from caloforge.foundations.errors import UsageError

pytestmark = pytest.mark.geant4


def test_python_and_the_command_simulate_the_same_showers(tmp_path: Path, caloforge: Caloforge) -> None:
    words = "--detector pbwo4 --events 6 --energy log:1:3 --theta 80,90 --phi 30 --impact 2,-3 --particle e-,gamma"
    ran = caloforge("simulate", *words.split(), "--seed", 9, "-o", tmp_path / "command.h5")
    assert ran.code == 0, ran.err
    showers = cf.simulate(
        load_detector("pbwo4"),
        6,
        cf.Spectrum("log", (1e3, 3e3)),
        theta=[math.radians(80), math.radians(90)],
        phi=math.radians(30),
        impact=(2, -3),
        particle="e-,gamma",
        seed=9,
        output=tmp_path / "python.h5",
    )
    for other in (cf.read(tmp_path / "command.h5"), cf.read(tmp_path / "python.h5")):
        np.testing.assert_array_equal(showers.deposits, other.deposits)
        for name, values in other.conditions.columns().items():
            np.testing.assert_array_equal(showers.conditions.columns()[name], values)


def test_primaries_of_a_file_or_of_showers_are_added_up_and_read_out_alike(
    tmp_path: Path, caloforge: Caloforge
) -> None:
    detector = load_detector("pbwo4").model_dump(mode="json", exclude_none=True)
    detector["digitise"] = {"mip_MeV": 20.0, "threshold_mip": 0.5, "noise_MeV": 2.0}
    (tmp_path / "d.yaml").write_text(json.dumps(detector))
    given = tmp_path / "given.h5"
    grid, energy = load_detector("pbwo4").grid, np.array([500, 700, 900, 1100], np.float32)
    pdg = np.array([11, 22, 22, 22], np.int32)
    primaries = cf.Showers(
        np.zeros((4, *grid.shape), np.float32),
        *(energy, energy * 0 + 1.5, grid, np.ones((4, 2), np.float32), pdg),
    )
    cf.write(given, primaries)
    words = f"--detector {tmp_path / 'd.yaml'} --like {given} --overlay 2 --digitise"
    ran = caloforge("simulate", *words.split(), "--seed", 9, "-o", tmp_path / "command.h5")
    assert ran.code == 0, ran.err
    expected = cf.read(tmp_path / "command.h5")
    for like in (str(given), primaries):
        showers = cf.simulate(tmp_path / "d.yaml", like=like, overlay=2, digitise=True, seed=9)
        np.testing.assert_array_equal(showers.deposits, expected.deposits)
        np.testing.assert_array_equal(showers.incident_energy, [1200, 2000])
        assert showers.provenance["digitise"] == expected.provenance["digitise"]
    with pytest.raises(UsageError, match=r"given.h5: the output would replace an input"):
        cf.simulate("pbwo4", like=given, output=given)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"energy": "1:5"}, "energy: expected numbers in MeV, or a Spectrum, got '1:5'"),
        ({"energy": 1e3, "impact": (1, 2, 3)}, r"impact: expected \(x, y\) in mm, or an Area"),
        ({"energy": 1e3, "like": "x.csv"}, "--like: takes the primaries from the file"),
        ({"like": "none.csv"}, "none.csv: no such file"),
        ({"energy": 1e3, "overlay": 0}, "--overlay: expected at least 1"),
        ({"energy": 1e3, "digitise": True}, "--digitise: detector 'pbwo4' has no digitise"),
        ({}, "--events and --energy: both are needed, or --like FILE"),
        ({"energy": 1e-6}, "--energy: expected at least"),
        ({"energy": 1e3, "theta": 90.0}, "--theta"),
        ({"energy": 1e3, "output": "x.root"}, "output x.root: expected a shower file"),
        ({"energy": math.nan}, "spectrum discrete"),
        ({"energy": 1e3, "particle": "x"}, "particle: expected e-, "),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cf.simulate("pbwo4", 1, **values)  # type: ignore[arg-type]
