from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from shower_samples import SMALL_GRID, random_showers

import caloforge as cf
from caloforge.detector import Grid
from caloforge.detector.grid import CYLINDRICAL
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import ShowerWriter
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.showers import Showers

COLUMNS = ("deposits", "incident_energy", "incident_theta", "incident_phi", "impact_xy", "pdg_id")


def assert_same(read: Showers, written: Showers) -> None:
    for name in COLUMNS:
        found, expected = getattr(read, name), getattr(written, name)
        assert (found is None) is (expected is None), name
        if expected is not None:
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == (np.int32 if name == "pdg_id" else np.float32)
    assert (read.grid, read.grid.extra) == (written.grid, written.grid.extra)


@st.composite
def any_showers(draw: st.DrawFn) -> Showers:
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    n = draw(st.integers(0, 5))
    axes = draw(st.sampled_from([("x", "y", "z"), CYLINDRICAL]))
    sizes = draw(st.none() | st.tuples(st.floats(0.5, 50), st.floats(0.5, 50)))
    finite = st.floats(0, 2**29, width=32)
    return Showers(
        deposits=draw(nps.arrays(np.float32, (n, *shape), elements=finite)),
        incident_energy=draw(nps.arrays(np.float32, n, elements=st.floats(2**-20, 2**29, width=32))),
        incident_theta=draw(nps.arrays(np.float32, n, elements=st.floats(2**-10, 3.125, width=32))),
        grid=Grid(
            draw(st.text(min_size=1, max_size=9)), shape, axes, sizes, extra={"note": draw(st.text())}
        ),
        impact_xy=draw(
            st.none() | nps.arrays(np.float32, (n, 2), elements=st.floats(-1e3, 1e3, width=32))
        ),
        pdg_id=draw(st.none() | nps.arrays(np.int32, n)),
        incident_phi=draw(
            st.none() | nps.arrays(np.float32, n, elements=st.floats(-6.25, 6.25, width=32))
        ),
        provenance={"program": draw(st.text())},
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(any_showers())
def test_what_is_written_is_read(tmp_path: Path, showers: Showers) -> None:
    cf.write(tmp_path / "x.h5", showers)
    read = cf.read(tmp_path / "x.h5")
    assert_same(read, showers)
    assert read.provenance == showers.provenance


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.integers(0, 30), max_size=4), st.integers(1, 50), st.integers(1, 12), st.booleans())
def test_pieces_written_and_read_are_the_whole(
    tmp_path: Path, sizes: list[int], length: int, rows: int, packed: bool
) -> None:
    whole = random_showers(sum(sizes))
    first = 0
    with (
        patch("caloforge.files.shower_writer.CHUNK_BYTES", rows * 4 * SMALL_GRID.n_cells),
        ShowerWriter(tmp_path / "x.h5", SMALL_GRID, {}) as writer,
    ):
        for size in sizes:
            piece = whole[first : first + size]
            writer.append(writer.pack(piece, first) if packed else piece)
            first += size
    with ShowerFile(tmp_path / "x.h5") as file:
        assert len(file) == len(whole)
        if not sizes:
            return
        assert_same(file.read(), whole)
        chunks = list(file.chunks(length))
        deposits = np.concatenate([chunk.deposits for chunk in chunks] or [whole.deposits])
        np.testing.assert_array_equal(deposits, whole.deposits)
        part = file.read(-5, 10**9)
        np.testing.assert_array_equal(part.deposits, whole.deposits[-5:])


def test_the_file_is_as_its_format_says(tmp_path: Path) -> None:
    showers = random_showers(3)
    cf.write(tmp_path / "x.h5", showers)
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["format"] == "caloforge-showers"
        assert file.attrs["version"] == 1
        assert json.loads(file.attrs["detector"])["cell_size_mm"] == [5.1, 5.1]
        assert json.loads(file.attrs["provenance"]) == {"program": "tests", "seed": 1}
        assert {name: (d.dtype.str, d.shape, d.attrs["units"]) for name, d in file.items()} == {
            "showers": ("<f4", (3, 3, 4, 5), "MeV"),
            "incident_energy": ("<f4", (3,), "MeV"),
            "incident_theta": ("<f4", (3,), "rad"),
            "incident_phi": ("<f4", (3,), "rad"),
            "impact_xy": ("<f4", (3, 2), "mm"),
            "pdg_id": ("<i4", (3,), "1"),
        }


def test_a_file_that_others_wrote_in_their_own_way_is_read(tmp_path: Path) -> None:
    showers = random_showers(4)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["format"] = np.bytes_("caloforge-showers")
        file.attrs["version"] = np.int8(1)
        file.attrs["detector"] = '{"name": "mine"}'
        file.attrs["provenance"] = "{}"
        file["showers"] = showers.deposits.astype(">f8")
        file["incident_energy"] = showers.incident_energy.astype(np.int64)
        file["incident_theta"] = showers.incident_theta.astype(np.float64)
        for name, units in (("showers", "MeV"), ("incident_energy", b"MeV"), ("incident_theta", "rad")):
            file[name].attrs["units"] = units
    read = cf.read(tmp_path / "x.h5")
    np.testing.assert_array_equal(read.deposits, showers.deposits)
    np.testing.assert_array_equal(read.incident_energy, np.floor(showers.incident_energy))
    assert read.grid == Grid("mine", (3, 4, 5))
    assert read.pdg_id is None


def test_reading_follows_the_stored_chunks_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cf.write(tmp_path / "x.h5", random_showers(1000))
    row = 4 * 3 * 4 * 5
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        deposits = file["showers"][:]
        del file["showers"]
        dataset = file.create_dataset("showers", data=deposits, chunks=(48, 3, 4, 5))
        dataset.attrs["units"] = "MeV"
    with ShowerFile(tmp_path / "x.h5") as file:
        assert [len(chunk) for chunk in file.chunks(100)][:2] == [96, 96]
        assert [len(chunk) for chunk in file.chunks(10)][:2] == [48, 48]
        monkeypatch.setattr("caloforge.files.hdf5.MAX_CHUNK_BYTES", 50 * row)
        assert [len(chunk) for chunk in file.chunks(500)][:2] == [48, 48]


@pytest.mark.parametrize(
    ("deposit", "words"), [(-1.0, "holds -1.0"), (np.nan, "holds nan"), (np.inf, "holds inf")]
)
def test_nothing_is_written_that_could_not_be_read(tmp_path: Path, deposit: float, words: str) -> None:
    showers = random_showers(600)
    showers.deposits[599, 1, 2, 3] = deposit
    with pytest.raises(CaloforgeError, match=rf"shower 599, cell \(1, 2, 3\) {words}"):
        cf.write(tmp_path / "x.h5", showers)
    assert not list(tmp_path.iterdir())


def test_later_showers_must_fit_the_first(tmp_path: Path) -> None:
    def write(*pieces: Showers) -> None:
        with ShowerWriter(tmp_path / "x.h5", SMALL_GRID, {}) as writer:
            for piece in pieces:
                writer.append(piece)

    showers = random_showers(2)
    fewer = Showers(showers.deposits, showers.incident_energy, showers.incident_theta, SMALL_GRID)
    with pytest.raises(
        CaloforgeError, match=r"field (incident_phi|impact_xy|pdg_id) is missing in later showers"
    ):
        write(showers, fewer)
    with pytest.raises(CaloforgeError, match=r"expected showers of shape \(3, 4, 5\), got \(4, 3, 5\)"):
        write(showers, random_showers(2, Grid("other", (4, 3, 5))))
    assert not list(tmp_path.iterdir())
    write(fewer, showers)  # columns that the first piece lacks stay out
    assert cf.read(tmp_path / "x.h5").pdg_id is None


def test_packed_showers_have_their_place(tmp_path: Path) -> None:
    with ShowerWriter(tmp_path / "x.h5", SMALL_GRID, {}) as writer:
        with pytest.raises(ValueError, match="packed for row 2, the next is 0"):
            writer.append(writer.pack(random_showers(2), 2))
        writer.append(random_showers(1))


def test_a_writer_is_used_in_its_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="outside its with block"):
        ShowerWriter(tmp_path / "x.h5", SMALL_GRID, {}).append(random_showers(1))


def test_provenance_may_be_long_and_be_filled_until_the_end(tmp_path: Path) -> None:
    with ShowerWriter(tmp_path / "x.h5", SMALL_GRID, {}) as writer:
        writer.append(random_showers(1))
        writer.provenance["sources"] = ["x" * 100] * 5000
    assert cf.read(tmp_path / "x.h5").provenance == {"sources": ["x" * 100] * 5000}


def test_space_taken_ahead_is_given_back(tmp_path: Path) -> None:
    cf.write(tmp_path / "x.h5", random_showers(10))
    assert (tmp_path / "x.h5").stat().st_size < 200_000


WRITES_UNTIL = """
    import os, resource, sys
    import caloforge as cf
    from caloforge.files.shower_writer import ShowerWriter
    from caloforge.foundations.errors import CaloforgeError
    sys.path.insert(0, {tests!r})
    from shower_samples import random_showers

    showers = random_showers(2000, occupancy=1)
    if {limit}:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        with ShowerWriter({path!r}, showers.grid, {{}}) as writer:
            writer.append(showers)
            print("half", flush=True)
            if {wait}:
                sys.stdin.read()
            for _ in range(20):
                writer.append(showers)
    except CaloforgeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""


def writing(path: Path, *, limit: int = 0, wait: bool = False) -> subprocess.Popen[str]:
    script = textwrap.dedent(WRITES_UNTIL).format(
        path=str(path), limit=limit, wait=wait, tests=str(Path(__file__).parents[1])
    )
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", script], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


@pytest.fixture(params=[False, True], ids=["no older file", "an older file"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "x.h5"
    if request.param:
        cf.write(path, random_showers(3, seed=7))
    return path


def assert_as_before(path: Path, before: bytes | None, *, clean: bool = True) -> None:
    assert (path.read_bytes() if path.exists() else None) == before
    if clean:
        assert [p.name for p in path.parent.iterdir()] == ([path.name] if before else [])


# The HDF5 library itself would end in a segmentation fault here, whatever Python catches.
@pytest.mark.process
@pytest.mark.parametrize("limit", [100_000, 9_500_000, 14_000_000])
def test_a_full_disk_leaves_what_was_there(target: Path, limit: int) -> None:
    before = target.read_bytes() if target.exists() else None
    with writing(target, limit=limit) as process:
        _, error = process.communicate()
    assert process.returncode == 1, error
    assert error == f"{target}: cannot be written: File too large\n"
    assert_as_before(target, before)


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_writer_leaves_what_was_there(target: Path, number: signal.Signals) -> None:
    before = target.read_bytes() if target.exists() else None
    with writing(target, wait=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(number)
        process.communicate()
    assert process.returncode != 0
    assert_as_before(target, before, clean=number != signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="is not writable"):
        cf.write(tmp_path / "x.h5", random_showers(1))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524])
def test_a_file_system_without_locks_is_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    whole = h5py.File

    def without_locks(*arguments: object, locking: object = None, **options: object) -> h5py.File:
        if locking is not False:
            raise OSError(number, "unable to lock file")
        return whole(*arguments, locking=locking, **options)

    monkeypatch.setattr(h5py, "File", without_locks)
    cf.write(tmp_path / "x.h5", random_showers(3))
    for _ in range(2):
        assert len(cf.read(tmp_path / "x.h5")) == 3
    (said,) = caplog.messages
    assert f"{tmp_path}: the file system has no locks" in said
