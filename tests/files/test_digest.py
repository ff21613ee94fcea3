"""What a shower file holds is what was written: any change is found, however the file is laid out."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from commands import PATIENCE_S, Caloforge, MadeOnce
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shower_samples import SMALL_GRID, random_showers

import caloforge as cf
from caloforge.comparison.samples import keep_hits
from caloforge.files import digest as digests
from caloforge.files.digest import BASE, PRIME, ContentDigest, row_crcs
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import ShowerWriter
from caloforge.files.summary import summarize
from caloforge.files.training_store import prepare_store
from caloforge.foundations.errors import CaloforgeError

N = 48


@pytest.fixture
def path(tmp_path: Path, made_once: MadeOnce) -> Path:
    def fill(folder: Path) -> None:
        with patch("caloforge.files.shower_writer.CHUNK_BYTES", 16 * 4 * SMALL_GRID.n_cells):
            cf.write(folder / "x.h5", random_showers(N))

    return Path(shutil.copy(made_once("digested", fill) / "x.h5", tmp_path / "x.h5"))


def digest_of(path: Path) -> str:
    with ShowerFile(path) as file:
        assert file.digest is not None
        return file.digest


# It depends on the content alone.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=6)
@given(st.lists(st.integers(0, 30), max_size=5), st.integers(1, 12), st.integers(0, 5))
def test_pieces_chunks_and_parts_have_the_digest_of_the_whole(
    tmp_path: Path, sizes: list[int], rows: int, parts: int
) -> None:
    whole = random_showers(sum(sizes))
    cf.write(tmp_path / "whole.h5", whole)
    ends = np.cumsum([0, *sizes])
    pieces = [whole[a:b] for a, b in pairwise(ends)]
    with (
        patch("caloforge.files.shower_writer.CHUNK_BYTES", rows * 4 * SMALL_GRID.n_cells),
        ShowerWriter(tmp_path / "x.h5", SMALL_GRID, whole.provenance) as writer,
    ):
        for number, piece in enumerate(pieces):
            if number < parts:
                writer.append(piece)
                continue
            cf.write(tmp_path / "part.h5", piece)
            with ShowerFile(tmp_path / "part.h5") as part:
                writer.join(part)
    if len(whole):  # else there are no columns either
        assert digest_of(tmp_path / "x.h5") == digest_of(tmp_path / "whole.h5")
    cf.read(tmp_path / "x.h5")


def test_another_layout_of_the_same_content_is_read(path: Path, tmp_path: Path) -> None:
    with h5py.File(path) as old, h5py.File(tmp_path / "y.h5", "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            kind = "i8" if name == "pdg_id" else "f8"
            new.create_dataset(name, data=old[name][:].astype(kind), compression="lzf")
            new[name].attrs.update(old[name].attrs)
    assert summarize(tmp_path / "y.h5")["digest"] == digest_of(path)


def test_each_library_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_showers(5).deposits
    quickest = row_crcs(rows, [1, 2, 3, 4, 5])
    monkeypatch.setattr(digests, "quickest_crc32", lambda: zlib.crc32)
    assert row_crcs(rows, [1, 2, 3, 4, 5]) == quickest
    assert len(set(quickest)) == 5


@given(st.lists(st.integers(0, 2**32 - 1)), st.data())
def test_the_order_and_the_number_of_showers_count(crcs: list[int], data: st.DataObject) -> None:
    def of(some: list[int]) -> int:
        digest = ContentDigest()
        digest.add(some)
        return digest.value

    cut = data.draw(st.integers(0, len(crcs)))
    joined = ContentDigest(of(crcs[:cut]))
    joined.join(f"{of(crcs[cut:]):016x}", len(crcs) - cut)
    assert joined.value == of(crcs) < PRIME
    assert of([*crcs, 0]) != of(crcs)
    other = data.draw(st.permutations(crcs))
    assert (of(other) == of(crcs)) == (other == crcs)


def test_the_base_has_as_many_powers_as_there_are() -> None:
    factors = (2, 3, 5, 7, 11, 13, 31, 41, 61, 151, 331, 1321)  # of PRIME - 1
    assert all((PRIME - 1) % factor == 0 for factor in factors)
    assert 1 not in [pow(BASE, (PRIME - 1) // factor, PRIME) for factor in factors]


# Every change is found.


FLIPS = """
import os, sys
import numpy as np
import caloforge as cf
from caloforge.foundations.errors import CaloforgeError

names = ("deposits", "incident_energy", "incident_theta", "incident_phi", "impact_xy", "pdg_id")

def content(path):
    showers = cf.read(path)
    return showers.grid.to_json(), showers.provenance, [getattr(showers, n).tobytes() for n in names]

path, rng = sys.argv[1], np.random.default_rng(1)
whole, written = open(path, "rb").read(), content(path)
for place in (*rng.integers(0, 8192, 200), *rng.integers(8192, len(whole), 200)):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << int(rng.integers(8))
    open(path, "wb").write(damaged)
    # Each in a process of its own: of some bits the HDF5 library itself dies.
    if not (child := os.fork()):
        try:
            os._exit(0 if content(path) == written else 3)
        except CaloforgeError:
            os._exit(1)
    print(place, os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.process
def test_a_flipped_bit_anywhere_changes_nothing_in_silence(path: Path) -> None:
    line = [sys.executable, "-c", FLIPS, str(path)]
    ran = subprocess.run(line, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    codes = [int(each.split()[1]) for each in ran.stdout.splitlines()]
    assert len(codes) == 400
    assert {code for code in codes if code >= 0} == {0, 1}, ran.stdout
    assert sum(code < 0 for code in codes) < 4


def rewritten(name: str, change: Callable[[np.ndarray], None]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        values = file[name][:]
        change(values)
        file[name][:] = values

    return edit


def empty(values: np.ndarray) -> None:
    values[16:32] = 0


def exchange(values: np.ndarray) -> None:
    values[[0, 1]] = values[[1, 0]]


def nudge(values: np.ndarray) -> None:
    values.view(np.uint32).reshape(-1)[7] ^= 1


def attribute(name: str, old: str, new: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        assert old in file.attrs[name]
        file.attrs[name] = file.attrs[name].replace(old, new)

    return edit


CHANGES: dict[str, Callable[[h5py.File], None]] = {
    "empty showers": rewritten("showers", empty),
    "exchanged showers": rewritten("showers", exchange),
    "a deposit": rewritten("showers", nudge),
    "an energy": rewritten("incident_energy", nudge),
    "an angle": rewritten("incident_theta", nudge),
    "an azimuth": rewritten("incident_phi", nudge),
    "a position": rewritten("impact_xy", nudge),
    "a particle": rewritten("pdg_id", nudge),
    "a lost column": lambda file: file.__delitem__("pdg_id"),
    "a cell's size": attribute("detector", "5.1", "5.7"),
    "a seed": attribute("provenance", '"seed": 1', '"seed": 3'),
    "a digit of the digest": lambda file: file.attrs.__setitem__("digest", "0" * 16),
    "no digest at all": lambda file: file.attrs.__setitem__("digest", "good"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whoever_reads_a_changed_file_refuses_it(path: Path, change: str) -> None:
    with h5py.File(path, "r+") as file:
        CHANGES[change](file)

    def store(path: Path) -> None:
        prepare_store([path], path.parent / "cache", threshold_MeV=0.0)

    def hits(path: Path) -> None:
        with ShowerFile(path) as file:
            keep_hits(file, file.grid)

    for read in (summarize, cf.read, store, hits):
        with pytest.raises(CaloforgeError, match=rf"^{path}: attribute digest(_header)?: "):
            read(path)
    assert not list((path.parent / "cache").glob("showers-*"))


def test_commands_refuse_a_changed_file_in_one_line(path: Path, caloforge: Caloforge) -> None:
    with h5py.File(path, "r+") as file:
        CHANGES["an energy"](file)
    caloforge("inspect", path).refused(1, str(path), "attribute digest")
    train = caloforge("train", "--data", path, "--out", path.parent / "run")
    train.refused(1, str(path), "attribute digest")
    validate = caloforge("validate", path, path, "-o", path.parent / "report")
    validate.refused(1, str(path), "attribute digest")


@pytest.mark.parametrize(
    "name", ["incident_energy", "incident_theta", "incident_phi", "impact_xy", "pdg_id"]
)
def test_a_flip_in_a_column_is_named(path: Path, name: str) -> None:
    with h5py.File(path) as file:
        place = file[name].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaloforgeError, match=rf"^{path}: field {name} cannot be read"):
        ShowerFile(path)


@pytest.mark.parametrize("before", [2, 16], ids=["unpacked", "copied as it is"])
def test_a_part_that_changed_before_it_was_joined_is_found(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr("caloforge.files.shower_writer.CHUNK_BYTES", 16 * 4 * SMALL_GRID.n_cells)
    with h5py.File(path, "r+") as file:
        CHANGES["a deposit"](file)
    with ShowerWriter(tmp_path / "all.h5", SMALL_GRID, {}) as writer, ShowerFile(path) as part:
        writer.append(random_showers(before))
        writer.join(part)
    with pytest.raises(CaloforgeError, match=r"all\.h5: attribute digest"):
        summarize(tmp_path / "all.h5")


def test_a_file_without_a_digest_is_read_and_said_to_have_none(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["digest"], file.attrs["digest_header"]
        CHANGES["an energy"](file)
        CHANGES["a seed"](file)
    summary = summarize(path)
    assert summary["digest"] is None
    assert summary["integrity"].endswith("the file has no digest to compare with")


# Whole numbers that do not fit.


@pytest.mark.parametrize("kind", ["i8", "u8", "u4"])
@given(number=st.integers(2**31, 2**32 - 1) | st.sampled_from([11 - 2**32, 2**32 + 11, 2**63]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_particles_that_do_not_fit_are_refused(path: Path, kind: str, number: int) -> None:
    limits = np.iinfo(kind)
    if not limits.min <= number <= limits.max:
        return
    with h5py.File(path, "r+") as file:
        units = file["pdg_id"].attrs["units"]
        del file["pdg_id"]
        file["pdg_id"] = np.full(N, 11, kind)
        file["pdg_id"][3] = number
        file["pdg_id"].attrs["units"] = units
    with pytest.raises(CaloforgeError, match=rf"field pdg_id: .* 32 bits, row 3 has {number}$"):
        ShowerFile(path)
    numbers = np.array([11, 11, 11, number, 11], kind)
    with pytest.raises(
        CaloforgeError, match="field pdg_id: expected whole numbers of 32 bits, shower 3"
    ):
        replace(random_showers(5), pdg_id=numbers)
