"""Geant4 from Python: the showers of the command, in MeV, mm and rad."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("values", "words"),
    [
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
