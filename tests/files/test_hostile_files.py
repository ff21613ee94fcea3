"""Files that are broken, or made to do harm: each is refused at once, in one line, by its exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import Caloforge
from shower_samples import random_showers, write_clic

import caloforge as cf
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError

N = 20
HUGE = 10**9

Change = Callable[[h5py.File], object]


def replaced(name: str, **options: Any) -> Change:
    """Put another dataset in the place of one; its units stay."""

    def change(file: h5py.File) -> None:
        units = file[name].attrs["units"]
        del file[name]
        file.create_dataset(name, **options).attrs["units"] = units

    return change


def set_value(name: str, where: Any, value: float) -> Change:
    return lambda file: file[name].__setitem__(where, value)


def set_attribute(name: str, value: object, of: str = "/") -> Change:
    return lambda file: file[of].attrs.__setitem__(name, value)


def detector(**fields: object) -> Change:
    def change(file: h5py.File) -> None:
        found = json.loads(file.attrs["detector"])
        file.attrs["detector"] = json.dumps(found | fields)

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((N,), "f4")
    layout[:] = h5py.VirtualSource(file.filename + ".other", "x", (N,))
    del file["incident_energy"]
    file.create_virtual_dataset("incident_energy", layout)


def linked(link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file["incident_energy"]
        file["incident_energy"] = link

    return change


def unknown_filter(file: h5py.File) -> None:
    """Write a chunk as compressed by a filter that nobody has registered."""
    del file["incident_energy"]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((N,))
    properties.set_filter(32_999, h5py.h5z.FLAG_OPTIONAL, ())
    space, kind = h5py.h5s.create_simple((N,)), h5py.h5t.NATIVE_FLOAT
    dataset = h5py.h5d.create(file.id, b"incident_energy", kind, space, properties)
    dataset.write_direct_chunk((0,), np.ones(N, "f4").tobytes())


def group_instead(file: h5py.File) -> None:
    del file["showers"]
    file.create_group("showers")


def named_type_instead(file: h5py.File) -> None:
    del file["showers"]
    file["showers"] = np.dtype("f4")


def nothing_in_it(file: h5py.File) -> None:
    del file["incident_energy"]
    file["incident_energy"] = h5py.Empty("f4")


COMPOUND = np.dtype([("x", "f4"), ("y", "f4")])
TEXT = h5py.string_dtype()
VLEN = h5py.vlen_dtype(np.float32)
EXTERNAL = [("/etc/passwd", 0, 4 * N)]

CHANGED: dict[str, tuple[Change, str]] = {
    "no format": (lambda f: f.attrs.__delitem__("format"), "attribute format: expected 'caloforge-showers'"),
    "other format": (set_attribute("format", "x" * 10**4), "attribute format: expected"),
    "numeric format": (set_attribute("format", 3), "attribute format: expected a text"),
    "format that is not UTF-8": (set_attribute("format", np.bytes_(b"\xff\xfe")), "attribute format"),
    "no version": (lambda f: f.attrs.__delitem__("version"), "attribute version: expected 1, found 'None'"),
    "later version": (set_attribute("version", 2), "attribute version: expected 1, found '2'"),
    "version as text": (set_attribute("version", "1"), "attribute version: expected 1"),
    "versions": (set_attribute("version", np.ones(100)), "attribute version: expected 1"),
    "no detector": (lambda f: f.attrs.__delitem__("detector"), "attribute detector is missing"),
    "detector that is no JSON": (set_attribute("detector", "{name: x}"), "attribute detector: expected JSON"),
    "detector that is not UTF-8": (set_attribute("detector", np.bytes_(b'"\xff"')), "attribute detector"),
    "detector nested too deep": (set_attribute("detector", "[" * 10**5), "attribute detector: expected JSON"),
    "detector nested deeper than anybody needs": (set_attribute("detector", "[" * 99 + "]" * 99), "nested too deeply"),
    "detector with a name twice": (set_attribute("detector", '{"name": "a", "name": "b"}'), "name is given twice"),
    "cells of 10^400": (detector(shape=[10**400, 1, 1]), "a whole number of more than 20 digits"),
    "detector of 17 MB": (set_attribute("detector", f'"{"x" * (17 << 20)}"'), "attribute detector: expected JSON"),
    "detector with a NaN": (set_attribute("detector", '{"name": NaN}'), "attribute detector: expected JSON"),
    "detector as a list": (set_attribute("detector", "[]"), "detector: expected a JSON object"),
    "detector of another shape": (detector(shape=[5, 4, 3]), "field shape: [5, 4, 3], but the showers have"),
    "detector of absurd shape": (detector(shape=[10**6] * 3), "field shape: expected three positive"),
    "detector with other axes": (detector(axes=["a", "b", "c"]), "field axes: expected ['x', 'y', 'z']"),
    "detector without a name": (detector(name=""), "detector, field name"),
    "detector with other layers": (detector(layers=7), "field layers: 7, but the shape is [3, 4, 5]"),
    "detector with negative cells": (detector(cell_size_mm=[-1, 1]), "field cell_size_mm"),
    "no provenance": (lambda f: f.attrs.__delitem__("provenance"), "attribute provenance is missing"),
    "infinite provenance": (set_attribute("provenance", '{"x": 1e999}'), "attribute provenance: expected JSON"),
    "no units": (lambda f: f["showers"].attrs.__delitem__("units"), "field showers, attribute units"),
    "GeV": (set_attribute("units", "GeV", "showers"), "units: expected 'MeV', found 'GeV'"),
    "degrees": (set_attribute("units", "deg", "incident_theta"), "units: expected 'rad', found 'deg'"),
    "no energies": (lambda f: f.__delitem__("incident_energy"), "field incident_energy is missing"),
    "fewer energies": (replaced("incident_energy", data=np.ones(N - 1)), "field incident_energy: expected"),
    "energies as a column": (replaced("incident_energy", data=np.ones((N, 1))), "found (20, 1)"),
    "zero energy": (set_value("incident_energy", 3, 0), "0 < E <= 1e9 MeV, shower 3 has 0.0"),
    "negative energy": (set_value("incident_energy", 3, -5), "shower 3 has -5.0"),
    "NaN energy": (set_value("incident_energy", 0, np.nan), "shower 0 has nan"),
    "energy in eV": (set_value("incident_energy", 0, 5e10), "0 < E <= 1e9 MeV"),
    "angle in degrees": (set_value("incident_theta", 7, 90), "0 < theta < pi rad, shower 7 has 90.0"),
    "angle zero": (set_value("incident_theta", 7, 0), "shower 7 has 0.0"),
    "infinite impact": (set_value("impact_xy", (4, 1), np.inf), "field impact_xy: expected finite"),
    "particle as a fraction": (replaced("pdg_id", data=np.full(N, 11.5)), "expected whole numbers"),
    "NaN deposit": (set_value("showers", (2, 1, 0, 3), np.nan), "shower 2, cell (1, 0, 3) holds nan"),
    "infinite deposit": (set_value("showers", (2, 1, 0, 3), np.inf), "holds inf"),
    "negative deposit": (set_value("showers", (19, 2, 3, 4), -0.5), "shower 19, cell (2, 3, 4) holds -0.5"),
    "deposit of more than any particle has": (
        set_value("showers", (2, 1, 0, 3), 3e38),
        "expected finite deposits >= 0 and <= 1e+09 MeV, shower 2, cell (1, 0, 3) holds 3.0",
    ),
    "deposit beyond float32": (replaced("showers", data=np.full((N, 3, 4, 5), 1e39)), "holds inf"),
    "showers as one image": (replaced("showers", data=np.zeros((N, 60))), "expected shape (N, N, N, N)"),
    "showers as text": (replaced("showers", data=np.full((N, 3, 4, 5), b"x")), "found type |S1"),
    "showers as objects": (replaced("showers", shape=(N, 3, 4, 5), dtype=TEXT), "found type object"),
    "showers of any length": (replaced("showers", shape=(N, 3, 4, 5), dtype=VLEN), "found type object"),
    "showers as records": (replaced("showers", shape=(N, 3, 4, 5), dtype=COMPOUND), "expected numbers"),
    "complex showers": (replaced("showers", data=np.zeros((N, 3, 4, 5), "c8")), "found type complex64"),
    "no cells": (replaced("showers", shape=(N, 3, 0, 5), dtype="f4"), "but the showers have [3, 0, 5]"),
    "no dataspace": (nothing_in_it, "field incident_energy: expected shape (20,), found None"),
    "a group": (group_instead, "field showers: expected a dataset, found a group"),
    "a type": (named_type_instead, "field showers: expected a dataset, found a datatype"),
    "soft link": (linked(h5py.SoftLink("/incident_theta")), "field incident_energy is a link to elsewhere"),
    "external link": (linked(h5py.ExternalLink("/etc/passwd", "/x")), "is a link to elsewhere"),
    "circular link": (linked(h5py.SoftLink("/incident_energy")), "is a link to elsewhere"),
    "virtual dataset": (virtual, "field incident_energy is stored elsewhere"),
    "external storage": (
        replaced("incident_energy", shape=(N,), dtype="f4", external=EXTERNAL),
        "field incident_energy is stored elsewhere",
    ),
    "a filter that is not installed": (
        unknown_filter,
        "field incident_energy is compressed by filter 32999 ('unknown'), which is not installed here",
    ),
    "nothing written": (replaced("incident_energy", shape=(N,), dtype="f4"), "is incomplete: 0 of 80 bytes"),
    "a billion showers that nobody wrote": (
        replaced("showers", shape=(HUGE, 3, 4, 5), dtype="f4", chunks=(16, 3, 4, 5)),
        "field showers is incomplete: 0 of 62500000 chunks",
    ),
    "absurd cells": (
        replaced("showers", shape=(N, 10**6, 10**6, 10**6), dtype="f4", chunks=(1, 1, 100, 100)),
        "field showers is incomplete",
    ),
    "a chunk that fills the memory": (
        replaced("showers", shape=(N, 3, 4, 5), maxshape=(None,) * 4, chunks=(2**26, 3, 4, 1), dtype="f4"),
        "expected chunks of at most 256 MiB",
    ),
}  # fmt: skip


@pytest.fixture
def shower_file(tmp_path: Path) -> Path:
    path = tmp_path / "showers.h5"
    cf.write(path, random_showers(N))
    return path


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_file_is_refused_naming_the_field(
    shower_file: Path, caloforge: Caloforge, case: str
) -> None:
    change, words = CHANGED[case]
    with h5py.File(shower_file, "r+") as file:
        change(file)
    caloforge("inspect", shower_file).refused(1, "showers.h5: ", words)


def unix_socket(path: Path) -> None:
    # The name of a socket is limited to 107 bytes; a temporary folder's may be longer.
    before = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(before)


def truncated(path: Path) -> None:
    cf.write(path, random_showers(N))
    os.truncate(path, path.stat().st_size // 2)


def cut_in_its_header(path: Path) -> None:
    cf.write(path, random_showers(N))
    os.truncate(path, 64)


OTHER_THINGS: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "nothing": (str, 2, "no such file"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), 2, "no such file"),
    "a link to itself": (lambda path: path.symlink_to(path), 2, "symbolic links"),
    "a folder": (Path.mkdir, 2, "this is a folder"),
    "a pipe": (os.mkfifo, 2, "this is not a regular file"),
    "a socket": (unix_socket, 2, "this is not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), 2, "this is not a regular file"),
    "no bytes": (Path.touch, 1, "not an HDF5 file"),
    "text": (lambda path: path.write_text("showers"), 1, "not an HDF5 file"),
    "zeros": (lambda path: path.write_bytes(bytes(10**5)), 1, "not an HDF5 file"),
    "half a file": (truncated, 1, "truncated"),
    "a header": (cut_in_its_header, 1, "x.h5: "),
}


@pytest.mark.parametrize("command", ["inspect", "convert"])
@pytest.mark.parametrize("case", OTHER_THINGS)
def test_another_thing_than_a_file_is_refused(
    tmp_path: Path, caloforge: Caloforge, case: str, command: str
) -> None:
    make, code, words = OTHER_THINGS[case]
    make(tmp_path / "x.h5")
    output = ("-o", tmp_path / "out.h5") if command == "convert" else ()
    caloforge(command, tmp_path / "x.h5", *output).refused(code, "x.h5: ", words)
    assert not (tmp_path / "out.h5").exists()


def test_a_name_that_is_too_long_is_refused(caloforge: Caloforge) -> None:
    caloforge("inspect", "x" * 400).refused(2, "File name too long")


def test_a_compressed_chunk_with_a_flipped_bit_is_found(shower_file: Path, caloforge: Caloforge) -> None:
    with h5py.File(shower_file) as file:
        chunk = file["showers"].id.get_chunk_info(0)
    content = bytearray(shower_file.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    shower_file.write_bytes(content)
    caloforge("inspect", shower_file).refused(1, "field showers cannot be read, the file is damaged")


def test_a_checksum_that_does_not_fit_is_found(shower_file: Path, caloforge: Caloforge) -> None:
    with h5py.File(shower_file, "r+") as file:
        energy = file["incident_energy"][:]
        replaced("incident_energy", data=energy, chunks=(N,), fletcher32=True)(file)
        chunk = file["incident_energy"].id.get_chunk_info(0)
    content = bytearray(shower_file.read_bytes())
    content[chunk.byte_offset] ^= 1
    shower_file.write_bytes(content)
    caloforge("inspect", shower_file).refused(1, "field incident_energy cannot be read")


@pytest.mark.process
def test_a_file_that_another_program_writes_is_told_so(shower_file: Path, caloforge: Caloforge) -> None:
    script = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(shower_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        caloforge("inspect", shower_file).refused(1, "another program is writing it")
        writer.communicate(b"\n")


def test_a_field_of_another_name_may_lead_anywhere_and_is_not_followed(
    shower_file: Path, caloforge: Caloforge
) -> None:
    with h5py.File(shower_file, "r+") as file:
        file["secrets"] = h5py.ExternalLink("/etc/passwd", "/")
        file["more"] = h5py.SoftLink("/nowhere")
    assert caloforge("inspect", shower_file).code == 0


def test_many_showers_declared_in_a_small_file_take_no_memory(shower_file: Path) -> None:
    with h5py.File(shower_file, "r+") as file:
        replaced("showers", shape=(HUGE, 3, 4, 5), dtype="f4", chunks=(16, 3, 4, 5))(file)
        for name, shape in (("incident_energy", (HUGE,)), ("incident_theta", (HUGE,))):
            replaced(name, shape=shape, dtype="f4", chunks=(1 << 20,))(file)
    assert shower_file.stat().st_size < 200_000
    with pytest.raises(CaloforgeError, match="incomplete"):
        ShowerFile(shower_file)


def test_more_showers_than_a_file_can_hold_are_refused(
    shower_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caloforge.files.shower_file.MAX_SHOWERS", N - 1)
    with pytest.raises(CaloforgeError, match="expected at most 19 showers, found 20"):
        ShowerFile(shower_file)


def test_a_published_file_declared_huge_is_refused(tmp_path: Path, caloforge: Caloforge) -> None:
    path = write_clic(tmp_path / "in.h5")
    with h5py.File(path, "r+") as file:
        del file["ECAL"]
        file.create_dataset("ECAL", (HUGE, 25, 25, 25), "f4", chunks=(1, 25, 25, 25))
    ran = caloforge("convert", path, "-o", tmp_path / "out.h5")
    ran.refused(1, "in.h5: field ECAL is incomplete: 0 of 1000000000 chunks were written")


def test_random_damage_never_gives_more_than_one_line(shower_file: Path, caloforge: Caloforge) -> None:
    """Flip bytes of the data's half of a file; what the library itself dies of lies in its first half."""
    content = shower_file.read_bytes()
    rng = np.random.default_rng(1)
    codes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for at in rng.integers(8192, len(content), 3):
            damaged[at] ^= int(rng.integers(1, 256))
        shower_file.write_bytes(damaged)
        ran = caloforge("inspect", shower_file)
        codes.add(ran.code)
        if ran.code:
            ran.refused(1, "showers.h5: ")
    assert 1 in codes


def test_what_does_not_fit_into_the_memory_is_refused(
    shower_file: Path, caloforge: Caloforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda _: 20)  # 20 pages of 20 bytes
    caloforge("inspect", shower_file).refused(1, "field showers: 20 rows need", "of memory")


def test_surrogates_in_texts_are_data_like_any_other(shower_file: Path, caloforge: Caloforge) -> None:
    with h5py.File(shower_file, "r+") as file:
        file.attrs["provenance"] = r'{"model": "\ud800\u001b[31m"}'
        for name in [name for name in file.attrs if name.startswith("digest")]:
            del file.attrs[name]  # as in files of before
    ran = caloforge("inspect", shower_file)
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out


@pytest.mark.parametrize("kind", [np.longdouble, np.float64, ">f4", np.int16])
def test_columns_of_any_type_are_read_piece_by_piece(
    shower_file: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """The memory that takes is bounded by the pieces, whatever the type."""
    with h5py.File(shower_file, "r+") as file:
        energy = (1e4 + 100 * np.arange(N)).astype(kind)
        replaced("incident_energy", data=energy)(file)
        monkeypatch.setattr("caloforge.files.hdf5.READ_BYTES", 7 * energy.itemsize)
        pieces = []
        usual = h5py.Dataset.__getitem__

        def noted(self: h5py.Dataset, rows: Any, **options: Any) -> Any:
            found = usual(self, rows, **options)
            pieces.append((self.name, getattr(found, "size", 0)))
            return found

        monkeypatch.setattr(h5py.Dataset, "__getitem__", noted)
    with ShowerFile(shower_file) as read:
        assert read.conditions.incident_energy.tolist() == energy.tolist()
    assert [size for name, size in pieces if name == "/incident_energy"] == [7, 7, 6]


def test_an_attribute_that_could_fill_the_memory_is_not_read(
    shower_file: Path, tmp_path: Path, caloforge: Caloforge
) -> None:
    path = tmp_path / "large.h5"
    with h5py.File(shower_file) as old, h5py.File(path, "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)
        for name, value in old.attrs.items():
            new.attrs[name] = value
        new.attrs["provenance"] = np.bytes_(b"x" * (17 << 20))
    caloforge("inspect", path).refused(1, "attribute provenance: expected at most 16 MiB")
