from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from caloforge.detector import Detector, Grid
from caloforge.detector.electronics import Digitisation
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.showers import Showers
from caloforge.showers.digitisation import Digitiser

SILICON = {"material": "G4_Si", "thickness_mm": 0.5, "sensitive": True}


def grid_of(digitise: dict[str, float] | None) -> Grid:
    told = {
        "name": "small", "cells": [3, 4], "cell_size_mm": [5, 5], "digitise": digitise,
        "layers": [{"repeat": 2, "slabs": [SILICON]}],
    }  # fmt: skip
    return Detector.model_validate(told).grid


def showers_of(deposits: NDArray[Any], grid: Grid) -> Showers:
    ones = np.ones(len(deposits), np.float32)
    return Showers(deposits.astype(np.float32), 1e3 * ones, math.pi / 2 * ones, grid)


def test_by_hand() -> None:
    grid = grid_of({"mip_MeV": 0.2, "threshold_mip": 0.5, "saturation_MeV": 3.0})
    deposits = np.zeros((1, *grid.shape))
    deposits[0, 0, :, 0] = [0.05, 0.1, 2.0, 7.0]
    read = Digitiser.of(grid, 1)(showers_of(deposits, grid), 0).deposits
    np.testing.assert_allclose(read[0, 0, :, 0], [0, 0.1, 2.0, 3.0], rtol=1e-6)
    assert read.sum() == pytest.approx(5.1)


@given(
    st.floats(0.01, 10),
    st.floats(0, 5),
    st.none() | st.floats(0.1, 100),
    st.floats(0, 3),
    st.integers(1, 9),
)
def test_what_is_read_is_zero_or_between_threshold_and_saturation(
    mip: float, threshold: float, saturation: float | None, noise: float, n: int
) -> None:
    settings = Digitisation(
        mip_MeV=mip, threshold_mip=threshold, saturation_MeV=saturation, noise_MeV=noise
    )
    grid = grid_of(settings.model_dump(exclude_none=True))
    deposits = np.random.default_rng(n).exponential(2, (n, *grid.shape))
    digitiser = Digitiser.of(Grid.from_json(json.loads(json.dumps(grid.to_json()))), 7)
    showers = showers_of(deposits, grid)
    before = showers.deposits.copy()
    read = digitiser(showers, 3).deposits
    np.testing.assert_array_equal(showers.deposits, before)
    seen = read[read != 0]
    assert (seen >= np.float32(mip * threshold)).all()
    assert (seen <= np.float32(math.inf if saturation is None else saturation)).all()
    # A shower's noise is its own, in whatever pieces a file is made.
    one_by_one = [digitiser(showers[i : i + 1], 3 + i).deposits for i in range(n)]
    np.testing.assert_array_equal(np.concatenate(one_by_one), read)


def test_noise_is_normal_and_follows_seed_and_number() -> None:
    grid = grid_of({"mip_MeV": 1.0, "noise_MeV": 0.5})
    showers = showers_of(np.full((400, *grid.shape), 10.0), grid)
    read = Digitiser.of(grid, 1)(showers, 0).deposits
    n = read.size
    assert abs(read.mean() - 10) < 4 * 0.5 / math.sqrt(n)
    assert abs(read.std() - 0.5) < 4 * 0.5 / math.sqrt(2 * n)
    assert len(np.unique(read[:, 0, 0, 0])) == 400
    assert not np.array_equal(Digitiser.of(grid, 2)(showers, 0).deposits, read)


def test_nobody_digitises_twice_or_without_a_description() -> None:
    grid = grid_of({"mip_MeV": 1.0})
    digitiser = Digitiser.of(grid, 1)
    with pytest.raises(UsageError, match="showers of 'small' are digitised already"):
        Digitiser.of(digitiser(showers_of(np.ones((1, *grid.shape)), grid), 0).grid, 1)
    with pytest.raises(UsageError, match="detector 'small' has no digitise in its description"):
        Digitiser.of(grid_of(None), 1)


@pytest.mark.parametrize("told", [3, {"mip_MeV": -1.0}, {"noise_MeV": 1.0}, {"mip_MeV": 1.0, "gain": 2}])
def test_what_a_file_says_wrongly_is_one_line(told: object) -> None:
    with pytest.raises(CaloforgeError, match=r"detector 'a', field digitise[:.]"):
        Grid.from_json({"name": "a", "digitise": told}, shape=(2, 2, 2))
    with pytest.raises(CaloforgeError, match="detector 'a', field digitise: field"):
        Digitiser.of(Grid("a", (2, 2, 2), extra={"digitise": told}), 1)
