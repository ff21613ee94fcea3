from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from commands import GiveAway
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files import sparse_store as sparse
from caloforge.files import training_store as store
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import ShowerWriter, write
from caloforge.files.training_store import ShowerStore, prepare_store
from caloforge.foundations.durable import sealed, sha256
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.showers import Showers

SHAPE = (4, 3, 5)


def some_showers(
    n: int = 40, shape: tuple[int, int, int] = SHAPE, seed: int = 0, hits: float = 0.2, **fields: Any
) -> Showers:
    draws = np.random.default_rng(seed)
    deposits = draws.lognormal(-1, 2, (n, *shape)) * (draws.random((n, *shape)) < hits)
    defaults = {"grid": Grid("toy", shape), "impact_xy": draws.normal(size=(n, 2)).astype(np.float32)}
    columns: dict[str, Any] = defaults | fields
    return Showers(
        deposits=deposits.astype(np.float32),
        incident_energy=draws.uniform(1e4, 5e5, n).astype(np.float32),
        incident_theta=np.full(n, np.pi / 2, np.float32),
        provenance={"seed": seed},
        **columns,
    )


def a_file(folder: Path, name: str = "a.h5", **made_of: Any) -> tuple[Path, Showers]:
    showers = some_showers(**made_of)
    write(folder / name, showers)
    return folder / name, showers


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


EXTREMES = [float(np.float32(value)) for value in (0.5, 1e-45, 1e9)]


@settings(max_examples=25, deadline=None)
@given(
    deposits=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), *map(st.just, SHAPE)),
        elements=st.floats(0, 8, width=32) | st.just(0.0) | st.sampled_from(EXTREMES),
        fill=st.just(0.0),
    ),
    threshold=st.sampled_from([0.0, 0.5, 1e-3, 100.0]),
    data=st.data(),
)
def test_a_store_gives_back_the_thresholded_showers_in_any_order(
    deposits: NDArray[np.float32], threshold: float, data: st.DataObject
) -> None:
    n = len(deposits)
    index = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=12)), np.int64)
    expected = np.where(deposits >= threshold, deposits, 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "a.h5", Showers(deposits, np.ones(n, "f4"), np.ones(n, "f4"), Grid("toy", SHAPE)))
        made = prepare_store([folder / "a.h5"], folder / "cache", threshold_MeV=threshold)
        np.testing.assert_array_equal(made.dense(index), expected[index])
        np.testing.assert_allclose(made.sum_MeV(), expected.sum((1, 2, 3), dtype=np.float64))
        made.verify()


def test_real_showers_come_back_exactly(tmp_path: Path) -> None:
    import caloforge

    file = Path(caloforge.__file__).parent / "data" / "clic-ecal-test.h5"
    with ShowerFile(file) as opened:
        showers = opened.read()
    made = prepare_store([file], tmp_path, threshold_MeV=0.0)
    np.testing.assert_array_equal(made.dense(np.arange(len(showers))), showers.deposits)
    assert made.n_bytes < showers.deposits.nbytes / 7
    assert made.provenance["sources"][0]["provenance"] == showers.provenance


@pytest.mark.parametrize(
    ("shape", "item_bytes"), [((51, 51, 25), 2), ((64, 32, 32), 2), ((64, 32, 33), 4), ((1, 1, 1), 2)]
)
def test_cells_take_two_bytes_as_long_as_they_can(
    tmp_path: Path, shape: tuple[int, int, int], item_bytes: int
) -> None:
    path, showers = a_file(tmp_path, n=3, shape=shape, hits=0.001)
    showers.deposits[:, -1, -1, -1] = [1, 2, 3]
    showers.deposits[1:, 0, 0, 0] = 7
    write(path, showers)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    hits = np.count_nonzero(showers.deposits)
    assert (made.folder / "cells").stat().st_size == item_bytes * hits
    np.testing.assert_array_equal(made.dense(np.array([2, 0, 1])), showers.deposits[[2, 0, 1]])


def test_labels_of_all_files_are_kept_in_order(tmp_path: Path) -> None:
    n = 12
    first, a = a_file(tmp_path, "a.h5", n=n, seed=1, pdg_id=np.full(n, 22, np.int32))
    second, b = a_file(tmp_path, "b.h5", n=n, seed=2)
    made = prepare_store([first, second], tmp_path / "cache", threshold_MeV=0.0)
    index = np.array([n + 3, 0, n - 1, n])
    got = made.showers(index)
    for name in ("deposits", "incident_energy", "incident_theta", "impact_xy"):
        both = np.concatenate([getattr(a, name), getattr(b, name)])
        np.testing.assert_array_equal(getattr(got, name), both[index])
    assert got.pdg_id is not None
    np.testing.assert_array_equal(got.pdg_id, [11, 22, 22, 11])  # the second file tells none: electrons
    assert got.incident_phi is None
    assert len(made) == len(made.conditions) == 2 * n
    only_first = prepare_store([first], tmp_path / "cache", threshold_MeV=0.0)
    assert set(only_first.conditions.particle) == {22}


def test_a_store_without_hits_or_without_showers_works(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    without_hits = prepare_store([path], tmp_path / "cache", threshold_MeV=1e9)
    assert not without_hits.dense(np.arange(40)).any()
    assert without_hits.sum_MeV().tolist() == [0.0] * 40
    empty, _ = a_file(tmp_path, "empty.h5", n=0)
    assert len(prepare_store([empty], tmp_path / "cache", threshold_MeV=0.0)) == 0
    both = prepare_store([empty, path], tmp_path / "cache", threshold_MeV=0.0)
    assert len(both) == 40


def test_sums_do_not_depend_on_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, showers = a_file(tmp_path)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    monkeypatch.setattr(sparse, "BLOCK", 7)
    np.testing.assert_allclose(made.sum_MeV(), showers.deposits.sum((1, 2, 3), dtype=np.float64))


def test_dense_fills_the_given_array_or_refuses(tmp_path: Path) -> None:
    path, showers = a_file(tmp_path)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    out = np.full((2, *SHAPE), 5, np.float32)
    assert made.dense(np.array([3, 3]), out) is out
    np.testing.assert_array_equal(out, showers.deposits[[3, 3]])
    mirrored = np.zeros((2, *SHAPE[::-1]), np.float32).transpose(0, 3, 2, 1)
    wrong_ones: list[Any] = [out[:1], out.astype(np.float64), mirrored]
    for wrong in wrong_ones:
        with pytest.raises(ValueError, match="out: expected"):
            made.dense(np.array([3, 3]), wrong)
    for index in (-1, 40):
        with pytest.raises(IndexError, match="showers 0 to 39"):
            made.dense(np.array([index]))


def test_moves_send_each_showers_deposits_to_other_cells(tmp_path: Path) -> None:
    path, showers = a_file(tmp_path)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    same = np.arange(made.grid.n_cells)
    got = made.dense(np.array([1, 2]), moves=[same[::-1], same])
    np.testing.assert_array_equal(got[0], showers.deposits[1][::-1, ::-1, ::-1])
    np.testing.assert_array_equal(got[1], showers.deposits[2])


def test_the_grid_remembers_the_threshold(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path, grid=Grid("toy", SHAPE, threshold_MeV=0.25))
    assert prepare_store([path], tmp_path / "c", threshold_MeV=0.5).grid.threshold_MeV == 0.5
    kept = prepare_store([path], tmp_path / "c", threshold_MeV=0.0)
    assert (kept.grid.threshold_MeV, kept.threshold_MeV) == (0.25, 0.0)


# Reuse.


def test_an_unchanged_file_is_neither_read_nor_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = a_file(tmp_path)
    first = prepare_store([path], tmp_path / "cache", threshold_MeV=0.1)

    def must_not_happen(*_: object, **__: object) -> None:
        raise AssertionError("read, locked or built again")

    for name in ("sha256", "write_store", "open_locked"):
        monkeypatch.setattr(store, name, must_not_happen)
    again = prepare_store([path], tmp_path / "cache", threshold_MeV=0.1)
    assert (again.folder, again.checksum) == (first.folder, first.checksum)


def test_a_moved_or_touched_file_finds_its_store(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    first = prepare_store([path], tmp_path / "cache", threshold_MeV=0.1)
    os.utime(path, (1, 1))
    path = path.rename(tmp_path / "b.h5")
    calls: list[int] = []

    def progress(done: int, total: int, **figures: float | str) -> None:
        calls.append(done)

    again = prepare_store([path], tmp_path / "cache", threshold_MeV=0.1, progress=progress)
    assert again.folder == first.folder
    assert not calls


def test_a_changed_file_threshold_or_order_makes_another_store(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    other, _ = a_file(tmp_path, "other.h5", seed=5)
    cache = tmp_path / "cache"
    stores = [prepare_store([path], cache, threshold_MeV=t) for t in (0.1, 0.2)]
    stores += [
        prepare_store(files, cache, threshold_MeV=0.1) for files in ([path, other], [other, path])
    ]
    # Changed behind our back to a file of the same size, with its old modification time.
    times, content = path.stat(), other.read_bytes()
    path.write_bytes(content.ljust(times.st_size, b"\0"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    stores.append(prepare_store([path], cache, threshold_MeV=0.1))
    assert len({s.folder for s in stores}) == len({s.checksum for s in stores}) == 5
    np.testing.assert_array_equal(
        stores[-1].dense(np.arange(40)),
        prepare_store([other], cache, threshold_MeV=0.1).dense(np.arange(40)),
    )


def test_the_checksum_names_the_data_not_the_file(tmp_path: Path) -> None:
    path, showers = a_file(tmp_path)
    with ShowerWriter(tmp_path / "packed.h5", showers.grid, {"by": "another"}) as writer:
        writer.append(showers)
    one = prepare_store([path], tmp_path / "cache", threshold_MeV=0.1)
    two = prepare_store([tmp_path / "packed.h5"], tmp_path / "cache", threshold_MeV=0.1)
    assert one.folder != two.folder
    assert one.checksum == two.checksum


def test_a_damaged_memory_of_checksums_costs_only_time(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    first = prepare_store([path], tmp_path / "cache", threshold_MeV=0.1)
    for text in ("{", "[]", json.dumps({str(path): 3, str(path.resolve()): [1, 2]})):
        (tmp_path / "cache" / store.CHECKSUMS).write_text(text)
        assert prepare_store([path], tmp_path / "cache", threshold_MeV=0.1).folder == first.folder


# Interrupted and concurrent builds, in real processes.

BUILD = """
import os, signal, sys, time
from pathlib import Path
from caloforge.files import sparse_store as sparse
from caloforge.files.training_store import prepare_store

sparse.CHUNK_BYTES = 1  # a chunk of the file at a time
built = []

def progress(done, total):
    built.append(done)
    if sys.argv[3] == "kill" and 2 * done > total:
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[3] == "slow":
        time.sleep(0.02)

made = prepare_store([Path(sys.argv[1])], Path(sys.argv[2]), threshold_MeV=0.1, progress=progress)
made.verify()
print(made.folder, len(built))
"""


@pytest.fixture
def chunked_file(tmp_path: Path) -> Path:
    """A file of many small chunks."""
    showers = some_showers(40)
    with ShowerWriter(tmp_path / "a.h5", showers.grid, {}) as writer:
        writer.append(showers)
    import h5py

    with h5py.File(tmp_path / "a.h5", "r+") as file:
        attributes = dict(file["showers"].attrs)
        del file["showers"]
        dataset = file.create_dataset("showers", data=showers.deposits, chunks=(1, *SHAPE))
        dataset.attrs.update(attributes)
    return tmp_path / "a.h5"


@pytest.mark.process
def test_a_killed_build_leaves_nothing_that_opens_and_the_next_one_cleans_up(
    chunked_file: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    killed = run_python(BUILD, chunked_file, cache, "kill")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not list(cache.glob("showers-*"))
    leftovers = list(cache.glob(".showers-*.tmp"))
    assert leftovers
    made = prepare_store([chunked_file], cache, threshold_MeV=0.1)
    made.verify()
    assert not list(cache.glob(".showers-*.tmp"))


@pytest.mark.process
def test_two_processes_at_once_make_one_store(chunked_file: Path, tmp_path: Path) -> None:
    processes = [run_python(BUILD, chunked_file, tmp_path / "cache", "slow") for _ in range(2)]
    outputs = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0][0] == outputs[1][0]
    assert sorted(int(built) for _, built in outputs) == [0, 40]
    assert len(list((tmp_path / "cache").glob("showers-*"))) == 1


def test_without_locks_two_at_once_are_as_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("this file system has no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    path, showers = a_file(tmp_path)
    others: list[ShowerStore] = []

    def another_process_is_faster(done: int, total: int, **figures: float | str) -> None:
        others.append(prepare_store([path], tmp_path / "cache", threshold_MeV=0.0))

    late = prepare_store(
        [path], tmp_path / "cache", threshold_MeV=0.0, progress=another_process_is_faster
    )
    assert late.folder == others[0].folder
    for each in (late, *others):  # what is open stays readable
        np.testing.assert_array_equal(each.dense(np.arange(40)), showers.deposits)
    assert not list((tmp_path / "cache").glob(".showers-*.tmp"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path, _ = a_file(tmp_path)

    def interrupt(done: int, total: int, **figures: float | str) -> None:
        raise error

    with pytest.raises(error):
        prepare_store([path], tmp_path / "cache", threshold_MeV=0.0, progress=interrupt)
    assert [p for p in (tmp_path / "cache").iterdir() if p.is_dir()] == []


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)

    def change(done: int, total: int, **figures: float | str) -> None:
        os.utime(path, (1, 1))

    with pytest.raises(CaloforgeError, match=r"a\.h5: the file changed while it was read"):
        prepare_store([path], tmp_path / "c", threshold_MeV=0.0, progress=change)
    assert not list((tmp_path / "c").glob("showers-*"))


FULL_DISK = """
import resource, sys
from pathlib import Path
from caloforge.foundations.errors import CaloforgeError
from caloforge.files.training_store import prepare_store

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # no file may grow beyond
try:
    prepare_store([Path(sys.argv[1])], Path(sys.argv[2]), threshold_MeV=0.0)
except CaloforgeError as error:
    print(error)
"""


@pytest.mark.process
def test_a_disk_that_takes_no_more_is_told_in_one_line(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    message = run_python(FULL_DISK, path, tmp_path / "cache").communicate()[0]
    assert message.count("\n") == 1
    assert "cannot be written: File too large" in message
    assert [p for p in (tmp_path / "cache").iterdir() if p.is_dir()] == []


# Damage and wrong use.


@pytest.mark.parametrize("name", ["cells", "deposits", "offsets", "incident_energy", "impact_xy"])
@pytest.mark.parametrize("how", ["truncate", "extend", "remove"])
def test_a_file_of_the_wrong_size_is_named(tmp_path: Path, name: str, how: str) -> None:
    path, showers = a_file(tmp_path)
    folder = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0).folder
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if how != "remove":
        (folder / name).write_bytes(content[:-1] if how == "truncate" else content + b"\0")
    with pytest.raises(
        CaloforgeError, match=rf"{folder / name}: expected {len(content)} bytes"
    ) as caught:
        ShowerStore.open(folder)
    assert "\n" not in str(caught.value)
    # Whoever trains gets a new store, not an error: the shower file is still there.
    again = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    again.verify()
    np.testing.assert_array_equal(again.dense(np.arange(40)), showers.deposits)


@pytest.mark.parametrize("name", ["cells", "deposits", "incident_theta"])
def test_one_flipped_bit_is_found_by_verify(tmp_path: Path, name: str) -> None:
    path, _ = a_file(tmp_path)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    made.verify()
    content = bytearray((made.folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made.folder / name).write_bytes(content)
    with pytest.raises(CaloforgeError, match=rf"{made.folder / name}: checksum differs"):
        ShowerStore.open(made.folder).verify()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_whoever_trains_gets_what_was_stored(tmp_path: Path, data: st.DataObject) -> None:
    path, _ = a_file(tmp_path)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    file = made.folder / data.draw(st.sampled_from(sorted(p.name for p in made.folder.iterdir())))
    whole = file.read_bytes()
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    again = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    assert again.checksum == made.checksum
    assert (again.folder / file.name).read_bytes() == whole
    assert list((tmp_path / "cache").glob("showers-*")) == [again.folder]


def test_what_others_may_have_written_is_made_again(tmp_path: Path, give_away: GiveAway) -> None:
    path, showers = a_file(tmp_path)
    made = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    assert made.folder.stat().st_mode & 0o77 == 0
    for how in ("open", "given away"):
        forged = np.fromfile(made.folder / "deposits", "<f4") * 10
        forged.tofile(made.folder / "deposits")
        manifest = json.loads((made.folder / sparse.MANIFEST).read_text())
        del manifest["sha256"]
        manifest["files"]["deposits"] = sha256(made.folder / "deposits")
        (made.folder / sparse.MANIFEST).write_text(json.dumps(sealed(manifest)))
        ShowerStore.open(made.folder).verify()
        if how == "open":
            made.folder.chmod(0o777)
        else:
            give_away(made.folder / "deposits")
        again = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
        np.testing.assert_array_equal(again.dense(np.arange(40)), showers.deposits)


def test_hits_that_lead_nowhere_are_damage(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    folder = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0).folder
    cells = np.fromfile(folder / "cells", "<u2")
    np.full_like(cells, 60).tofile(folder / "cells")
    with pytest.raises(CaloforgeError, match="a cell outside the grid"):
        ShowerStore.open(folder).dense(np.array([0]))
    offsets = np.fromfile(folder / "offsets", "<i8")
    offsets[[3, 4]] = offsets[[4, 3]]
    offsets.tofile(folder / "offsets")
    with pytest.raises(CaloforgeError, match=rf"{folder / 'offsets'}: expected offsets"):
        ShowerStore.open(folder)


@pytest.mark.parametrize("name", ["cells", "deposits"])
def test_a_store_that_is_cut_short_while_it_is_read_is_an_error_and_no_signal(
    tmp_path: Path, name: str
) -> None:
    path, _ = a_file(tmp_path)
    store = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0)
    index_N = np.arange(len(store))
    store.dense(index_N)
    os.truncate(store.folder / name, (store.folder / name).stat().st_size // 2)
    for read in (lambda: store.dense(index_N), store.sum_MeV if name == "deposits" else None):
        if read is not None:
            with pytest.raises(CaloforgeError, match=rf"{store.folder / name}: somebody cut it short"):
                read()


def test_a_wrong_manifest_is_told_in_one_line(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    folder = prepare_store([path], tmp_path / "cache", threshold_MeV=0.0).folder
    manifest = folder / sparse.MANIFEST
    good = json.loads(manifest.read_text())
    wrong: list[tuple[str, str]] = [
        ("not json", "expected JSON"),
        ("[1]", "expected a JSON object"),
        (json.dumps(good | {"format": "other"}), "field format"),
        (json.dumps(good | {"version": 99}), "field format"),
        (json.dumps(good | {"threshold_MeV": 0.5}), "field sha256: unlike"),
        (json.dumps({k: v for k, v in good.items() if k != "hits"}), "field sha256: unlike"),
        (json.dumps({k: v for k, v in good.items() if k != "sha256"}), "field sha256: unlike"),
    ]
    for text, message in wrong:
        manifest.write_text(text)
        with pytest.raises(CaloforgeError, match=message) as caught:
            ShowerStore.open(folder)
        assert str(caught.value).startswith(str(manifest))
        assert "\n" not in str(caught.value)
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="expected a shower store"):
        ShowerStore.open(folder)


@pytest.mark.parametrize(
    "other",
    [
        Grid("toy", (3, 4, 5)),
        Grid("toy", SHAPE, cell_size=(5.1, 5.1)),
        Grid("toy", SHAPE, axes=("r", "phi", "layer")),
    ],
)
def test_files_on_different_grids_are_refused_by_name(tmp_path: Path, other: Grid) -> None:
    first, _ = a_file(tmp_path)
    second, _ = a_file(tmp_path, "second.h5", grid=other, shape=other.shape)
    with pytest.raises(UsageError) as caught:
        prepare_store([first, second], tmp_path / "cache", threshold_MeV=0.0)
    message = str(caught.value)
    assert "a.h5" in message
    assert message.startswith(f"{second}: expected the cells of")
    assert "\n" not in message


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    for threshold in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="threshold_MeV: expected a number >= 0"):
            prepare_store([path], tmp_path / "cache", threshold_MeV=threshold)
    with pytest.raises(UsageError, match="at least one shower file"):
        prepare_store([], tmp_path / "cache", threshold_MeV=0.0)
    with pytest.raises(UsageError, match=r"absent\.h5: no such file"):
        prepare_store([tmp_path / "absent.h5"], tmp_path / "cache", threshold_MeV=0.0)
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(CaloforgeError, match=r"text\.h5: not an HDF5 file"):
        prepare_store([tmp_path / "text.h5"], tmp_path / "cache", threshold_MeV=0.0)
    with pytest.raises(CaloforgeError, match=r"a\.h5.*no store can be made"):
        prepare_store([path], path / "cache", threshold_MeV=0.0)


# Memory.

MEMORY = """
import sys
from pathlib import Path
from caloforge.files.training_store import prepare_store

def peak_MB():  # getrusage would start with the parent's peak
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

small, cache, *files = map(Path, sys.argv[1:])
prepare_store([small], cache, threshold_MeV=0.0)  # libraries are loaded, buffers are there
before = peak_MB()
made = prepare_store(files, cache, threshold_MeV=0.0)
made.sum_MeV()
print(len(made), peak_MB() - before)
"""


@pytest.mark.process
def test_memory_stays_bounded_whatever_the_size(tmp_path: Path) -> None:
    shape, n = (25, 25, 25), 2000
    small, showers = a_file(tmp_path, "small.h5", n=500, shape=shape, hits=0.02)
    with ShowerWriter(tmp_path / "large.h5", showers.grid, {}) as writer:
        for _ in range(n // 500):
            writer.append(showers)
    files = [tmp_path / f"large-{number}.h5" for number in range(4)]
    for number, path in enumerate(files):  # no file may be given twice
        shutil.copy(tmp_path / "large.h5", path)
        with h5py.File(path, "r+") as file:
            file.attrs["number"] = number
    output = run_python(MEMORY, small, tmp_path / "cache", *files).communicate()[0]
    showers_in_store, growth_MB = map(float, output.split())
    assert showers_in_store == 4 * n
    dense_MB = 4 * n * np.prod(shape) * 4 / 2**20  # 477 MB
    assert growth_MB < dense_MB / 10


@pytest.mark.parametrize("twin", ["itself", "link", "hard link", "copy"])
def test_showers_that_are_given_twice_are_refused(tmp_path: Path, twin: str) -> None:
    """Those that judge a training would be trained on."""
    path, _ = a_file(tmp_path)
    other = path if twin == "itself" else tmp_path / "twin.h5"
    if twin == "link":
        other.symlink_to(path)
    elif twin == "hard link":
        other.hardlink_to(path)
    elif twin == "copy":
        other.write_bytes(path.read_bytes())
    third, _ = a_file(tmp_path, "third.h5", seed=3)
    with pytest.raises(UsageError, match=f"{other.name}: holds the same showers as .*a.h5"):
        prepare_store([path, third, other], tmp_path / "cache", threshold_MeV=0.1)
    assert len(prepare_store([path, third], tmp_path / "cache", threshold_MeV=0.1)) == 80
