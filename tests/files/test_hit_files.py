"""Hits in files for analysis, read back by what analysts read them with."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from commands import Caloforge
from numpy.typing import NDArray
from shower_samples import SMALL_GRID, random_showers, write_clic, write_lemurs

import caloforge as cf
from caloforge.detector.positions import cell_positions_mm
from caloforge.files.hit_files import HIT_FILES
from caloforge.files.shower_writer import open_writer
from caloforge.foundations.errors import CaloforgeError

Columns = dict[str, NDArray[Any]]
CELLS = ("ix", "iy", "iz")


def read_csv(path: Path) -> tuple[NDArray[Any], Columns]:
    """Return the shower's number of each row, and the other columns."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    columns = {
        name: np.array(values, np.float32)
        for name, values in zip(header, zip(*rows, strict=True), strict=True)
    }
    return columns.pop("shower").astype(int), columns


def read_lists(events: Any) -> tuple[NDArray[Any], Columns]:
    counts = ak.to_numpy(ak.num(events["hits_energy"]))
    shower = np.repeat(np.arange(len(counts)), counts)
    columns = {
        name: np.asarray(ak.flatten(events[name]))
        if name.startswith("hits_")
        else np.asarray(events[name])[shower]
        for name in events.fields
        if name != "nhits"
    }
    return shower, {name.removeprefix("hits_"): values for name, values in columns.items()}


def read_parquet(path: Path) -> tuple[NDArray[Any], Columns]:
    return read_lists(ak.from_arrow(pq.read_table(path)))


def read_root(path: Path) -> tuple[NDArray[Any], Columns]:
    with uproot.open(path) as file:
        return read_lists(file["showers"].arrays())


READERS: dict[str, Callable[[Path], tuple[NDArray[Any], Columns]]] = {
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".root": read_root,
}


@pytest.mark.parametrize("suffix", READERS)
def test_hits_come_back_with_cells_places_and_conditions(tmp_path: Path, suffix: str) -> None:
    showers = random_showers(6)
    showers.deposits[2] = 0  # nothing was hit
    path = tmp_path / f"hits{suffix}"
    with open_writer(path, showers.grid, showers.provenance) as writer:
        for first, stop in ((0, 1), (1, 3), (3, 6)):
            writer.append(showers[first:stop])
    shower, columns = READERS[suffix](path)

    cells = tuple(columns[name].astype(int) for name in CELLS)
    rebuilt = np.zeros_like(showers.deposits)
    rebuilt[(shower, *cells)] = columns["energy"]
    np.testing.assert_array_equal(rebuilt, showers.deposits)
    assert len(shower) == np.count_nonzero(showers.deposits)
    for name, places in zip("xyz", cell_positions_mm(SMALL_GRID), strict=True):
        np.testing.assert_array_equal(columns[name], places[cells].astype(np.float32))
    for name in ("incident_energy", "incident_theta", "incident_phi", "pdg_id"):
        np.testing.assert_array_equal(columns[name], getattr(showers, name)[shower])
    assert showers.impact_xy is not None
    np.testing.assert_array_equal(columns["impact_x"], showers.impact_xy[shower, 0])
    np.testing.assert_array_equal(columns["impact_y"], showers.impact_xy[shower, 1])


def test_parquet_and_root_hold_every_shower_the_detector_and_the_provenance(tmp_path: Path) -> None:
    showers = random_showers(3)
    showers.deposits[1] = 0
    cf.write(tmp_path / "a.parquet", showers)
    cf.write(tmp_path / "a.root", showers)
    table = pq.read_table(tmp_path / "a.parquet")
    told = {
        key.decode(): json.loads(value)
        for key, value in pq.read_metadata(tmp_path / "a.parquet").metadata.items()
        if key != b"ARROW:schema"
    }
    assert table.num_rows == 3
    assert [len(hits) for hits in table["hits_energy"].to_pylist()][1] == 0
    assert table.schema.field("hits_x").metadata == {b"units": b"mm"}
    assert table.schema.field("hits_energy").metadata == {b"units": b"MeV"}
    with uproot.open(tmp_path / "a.root") as file:
        assert file["showers"]["nhits"].array(library="np")[1] == 0
        assert told == {name: json.loads(str(file[name])) for name in ("detector", "provenance")}
    assert told["detector"]["cell_size_mm"] == [5.1, 5.1]
    assert told["provenance"] == showers.provenance


@pytest.mark.parametrize("suffix", READERS)
def test_no_showers_are_a_file_without_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    cf.write(path, random_showers(3)[:0])
    if suffix == ".csv":
        assert path.read_text(encoding="ascii").splitlines() == [
            "shower,ix,iy,iz,x,y,z,energy,incident_energy,incident_theta,incident_phi,pdg_id,impact_x,impact_y"
        ]
    else:
        rows, _ = READERS[suffix](path)
        assert len(rows) == 0


@pytest.mark.parametrize("suffix", READERS)
def test_a_grid_of_unknown_sizes_has_cells_and_no_places(tmp_path: Path, suffix: str) -> None:
    showers = replace(random_showers(2), grid=replace(SMALL_GRID, cell_size=None))
    cf.write(tmp_path / f"a{suffix}", showers)
    _, columns = READERS[suffix](tmp_path / f"a{suffix}")
    assert not {"x", "y", "z"} & columns.keys()
    assert {*CELLS, "energy"} <= columns.keys()


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_interrupted_or_wrong_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    path, showers = tmp_path / f"a{suffix}", random_showers(4)
    wrong = replace(showers, deposits=-showers.deposits)
    other = random_showers(1, replace(SMALL_GRID, shape=(2, 2, 2)))

    def write(*pieces: cf.Showers, stop: bool = False) -> None:
        with open_writer(path, showers.grid, {}) as writer:
            for piece in pieces:
                writer.append(piece)
            if stop:
                raise KeyboardInterrupt

    with pytest.raises(CaloforgeError, match="field showers: expected finite deposits >= 0, shower 4"):
        write(showers, wrong)
    with pytest.raises(CaloforgeError, match="expected showers of shape"):
        write(other)
    with pytest.raises(KeyboardInterrupt):
        write(showers, stop=True)
    assert list(tmp_path.iterdir()) == []


def test_convert_writes_hits_of_shower_files_and_of_public_ones(
    tmp_path: Path, caloforge: Caloforge
) -> None:
    one, two = random_showers(3, seed=1), random_showers(2, seed=2)
    cf.write(tmp_path / "one.h5", one)
    cf.write(tmp_path / "two.h5", two)
    ran = caloforge("convert", tmp_path / "one.h5", tmp_path / "two.h5", "-o", tmp_path / "both.root")
    assert ran.code == 0, ran.err
    shower, columns = read_root(tmp_path / "both.root")
    deposits = np.concatenate([one.deposits, two.deposits])
    np.testing.assert_array_equal(columns["energy"], deposits[deposits > 0])
    np.testing.assert_array_equal(shower, np.nonzero(deposits)[0])
    with uproot.open(tmp_path / "both.root") as file:
        sources = json.loads(str(file["provenance"]))["sources"]
    assert [source["provenance"] for source in sources] == [one.provenance, two.provenance]

    clic = write_clic(tmp_path / "clic.h5")
    assert caloforge("convert", clic, "-o", tmp_path / "clic.csv").code == 0
    assert caloforge("convert", clic, "-o", tmp_path / "clic-showers.h5").code == 0
    _, hits = read_csv(tmp_path / "clic.csv")
    whole = cf.read(tmp_path / "clic-showers.h5").deposits
    np.testing.assert_array_equal(hits["energy"], whole[whole > 0])


def test_a_cylinder_has_rings_sectors_and_layers(tmp_path: Path, caloforge: Caloforge) -> None:
    path = write_lemurs(tmp_path / "LEMURS_Par04SiW_x.h5")
    assert caloforge("convert", path, "-o", tmp_path / "a.parquet").code == 0
    names = pq.read_schema(tmp_path / "a.parquet").names
    assert {"hits_ir", "hits_iphi", "hits_ilayer", "hits_energy"} <= {*names}


def test_a_shower_file_becomes_no_other_shower_file(tmp_path: Path, caloforge: Caloforge) -> None:
    cf.write(tmp_path / "a.h5", random_showers(1))
    ran = caloforge("convert", tmp_path / "a.h5", "-o", tmp_path / "b.h5")
    ran.refused(
        2,
        "a.h5: is a shower file already, expected a public layout, or an output with hits (.csv, .parquet, .root)",
    )
    assert {*READERS} == {*HIT_FILES}


def test_generate_writes_the_hits_of_the_showers_it_makes(tmp_path: Path, caloforge: Caloforge) -> None:
    for name in ("a.h5", "a.parquet"):
        ran = caloforge(
            "generate",
            "clic-ecal",
            "--events",
            5,
            "--energy",
            "10,50",
            "--seed",
            3,
            "--batch",
            2,
            "-o",
            tmp_path / name,
        )
        assert ran.code == 0, ran.err
    showers = cf.read(tmp_path / "a.h5")
    shower, columns = read_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(columns["energy"], showers.deposits[showers.deposits > 0])
    np.testing.assert_array_equal(columns["incident_energy"], showers.incident_energy[shower])
