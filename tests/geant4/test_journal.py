"""What survives a kill: every complete record, and nothing else."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.geant4.journal import Journal

MANIFEST = {"seed": 1, "detector": {"cells": [3, 4]}}


def shower(index: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(index)
    hits = int(rng.integers(0, 40))
    return np.sort(rng.integers(0, 5000, hits)).astype(np.uint32), rng.random(hits, np.float32)


def write(path: Path, *indices: int) -> list[int]:
    """Append showers; give the file's size after each."""
    sizes = []
    with Journal(path, MANIFEST) as journal:
        for index in indices:
            journal.append(index, *shower(index))
            sizes.append(path.stat().st_size)
    return sizes


def readable(path: Path, n: int) -> list[int]:
    """List the showers that a new run finds, each compared with what was written."""
    with Journal(path, MANIFEST) as journal:
        found = [index for index in range(n) if index in journal]
        assert len(journal) == len(found)
        for index in found:
            for read, written in zip(journal.read(index), shower(index), strict=True):
                np.testing.assert_array_equal(read, written)
    return found


def test_showers_come_back_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "j", 4, 0, 2)
    write(tmp_path / "j", 1)
    assert readable(tmp_path / "j", 6) == [0, 1, 2, 4]


@given(data=st.data())
def test_a_file_cut_anywhere_keeps_the_complete_records(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        sizes = write(path, *range(6))
        cut = data.draw(st.integers(0, sizes[-1]))
        path.write_bytes(path.read_bytes()[:cut])
        complete = sum(size <= cut for size in sizes)
        assert readable(path, 6) == list(range(complete))
        if complete:  # and goes on from there
            write(path, 5)
            assert readable(path, 6) == [*range(complete), *({5} - {*range(complete)})]


@given(data=st.data())
def test_a_damaged_record_is_never_taken_for_a_shower(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        sizes = write(path, *range(6))
        content = bytearray(path.read_bytes())
        where = data.draw(st.integers(sizes[0], sizes[-1] - 1))
        content[where] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert readable(path, 6) == list(range(sum(size <= where for size in sizes)))


@given(data=st.data())
@settings(max_examples=40)
def test_a_damaged_first_line_decides_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        write(path, *range(3))
        content = bytearray(path.read_bytes())
        where = data.draw(st.integers(0, content.index(b"\n") - 1))
        content[where] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        with suppress(CaloforgeError):
            assert readable(path, 3) == [0, 1, 2]
        for seed in (0, 3, 5, 9):  # nor does it make the showers those of another request, one bit away
            with pytest.raises(CaloforgeError):
                Journal(path, {**MANIFEST, "seed": seed}).__enter__()


def test_a_flipped_digit_in_the_first_line_is_named(tmp_path: Path) -> None:
    write(tmp_path / "j", 0)
    content = (tmp_path / "j").read_bytes()
    for line, words in ((b'{"seed": 3', "changed or damaged"), (b'{"seed": ?', "expected JSON")):
        (tmp_path / "j").write_bytes(line + content[len(line) :])
        with pytest.raises(CaloforgeError, match=rf"^{tmp_path}/j, line 1: .*{words}.*delete this file"):
            readable(tmp_path / "j", 1)


def test_a_journal_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "j", 0)
    _, newline, records = (tmp_path / "j").read_bytes().partition(b"\n")
    (tmp_path / "j").write_bytes(json.dumps(MANIFEST).encode() + newline + records)
    assert readable(tmp_path / "j", 1) == [0]


@pytest.mark.parametrize(
    ("cell", "deposit"), [(12, 1.0), (2**32 - 1, 1.0), (3, np.nan), (3, np.inf), (3, -1.0)]
)
def test_a_forged_shower_is_refused(tmp_path: Path, cell: int, deposit: float) -> None:
    with Journal(tmp_path / "j", MANIFEST, 12) as journal:
        journal.append(0, np.array([11], np.uint32), np.array([1], np.float32))
        journal.append(7, np.array([cell], np.uint32), np.array([deposit], np.float32))
    with pytest.raises(CaloforgeError, match=rf"^{tmp_path}/j: shower 7: expected .* in 12 cells"):
        Journal(tmp_path / "j", MANIFEST, 12).__enter__()


def test_other_showers_in_the_same_place_are_kept_and_the_user_told(tmp_path: Path) -> None:
    write(tmp_path / "j", 0)
    with (
        pytest.raises(UsageError, match=r"unfinished run with other seed, tables") as refusal,
        Journal(tmp_path / "j", {**MANIFEST, "seed": 2, "tables": "official"}),
    ):
        pass
    assert str(tmp_path / "j") in str(refusal.value)
    assert readable(tmp_path / "j", 1) == [0]


def test_a_journal_without_showers_is_gone_and_binds_nobody(tmp_path: Path) -> None:
    write(tmp_path / "j")
    assert not (tmp_path / "j").exists()
    (tmp_path / "j").write_bytes(b'{"seed": 3}\nSHWR')
    write(tmp_path / "j", 0)
    assert readable(tmp_path / "j", 1) == [0]


def test_a_cleared_journal_leaves_no_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", MANIFEST) as journal:
        journal.append(0, *shower(0))
        journal.clear()
    assert not (tmp_path / "j").exists()


def test_two_runs_do_not_write_one_journal(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j", MANIFEST),
        pytest.raises(UsageError, match="another process"),
        Journal(tmp_path / "j", MANIFEST),
    ):
        pass


@contextmanager
def files_no_longer_than(n_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_line_and_loses_only_the_last_shower(tmp_path: Path) -> None:
    path = tmp_path / "j"
    room = write(path, *range(4))[-1] + 1000
    cell, deposit = np.arange(50, dtype=np.uint32), np.ones(50, np.float32)  # 416 bytes with the head
    with Journal(path, MANIFEST) as journal, files_no_longer_than(room):
        journal.append(4, cell, deposit)
        journal.append(5, cell, deposit)
        with pytest.raises(CaloforgeError) as refusal:
            journal.append(6, cell, deposit)
    assert str(refusal.value).startswith(f"{path}: cannot be written: ")
    with Journal(path, MANIFEST) as journal:
        assert [index for index in range(99) if index in journal] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("content", [b"my notes", b"{\n", b'{"energies": [1, 2]}\n', b"\x89HDF\r\n"])
def test_what_is_no_journal_is_not_touched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes").write_bytes(content)
    (tmp_path / "link").symlink_to("notes")
    with pytest.raises(UsageError, match="notes: expected a journal, this is another file"):
        write(tmp_path / "notes", 1)
    with pytest.raises(UsageError, match="link: expected a journal, this is a link"):
        write(tmp_path / "link", 1)
    assert (tmp_path / "notes").read_bytes() == content


def test_a_header_that_was_half_written_is_ours(tmp_path: Path) -> None:
    write(tmp_path / "whole", 1)
    header = (tmp_path / "whole").read_bytes().partition(b"\n")[0]
    for size in (0, 1, 5, len(header) - 1):
        (tmp_path / "torn").write_bytes(header[:size])
        assert write(tmp_path / "torn", 2)
        assert readable(tmp_path / "torn", 3) == [2]
