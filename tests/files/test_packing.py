from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from shower_samples import random_showers

from caloforge.files import packing
from caloforge.files.shower_writer import ShowerWriter


@pytest.fixture(params=["zlib", "best"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setattr(packing, "_isal", lambda: None)
    return str(request.param)


def test_the_library_reads_what_was_packed_without_it(tmp_path: Path, way: str) -> None:
    showers = random_showers(300)
    with ShowerWriter(tmp_path / "x.h5", showers.grid, {}) as writer:
        writer.append(showers)
    with h5py.File(tmp_path / "x.h5") as file:
        assert (file["showers"].compression, file["showers"].shuffle) == ("gzip", False)
        np.testing.assert_array_equal(file["showers"][:], showers.deposits)


def test_empty_cells_cost_next_to_nothing(way: str) -> None:
    deposits = random_showers(200, occupancy=0.05).deposits
    packed = packing.deflate(deposits)
    assert zlib.decompress(packed) == deposits.tobytes()
    # A float hardly shrinks; where it lies costs less than the float.
    assert len(packed) < 8 * np.count_nonzero(deposits)


def test_a_view_is_packed_in_its_own_order(way: str) -> None:
    turned = random_showers(3).deposits.T
    assert zlib.decompress(packing.deflate(turned)) == turned.tobytes()
