from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.durable import (
    atomic_folder,
    atomic_path,
    check_output_path,
    sealed,
    sha256,
    unsealed,
    write_json,
    write_text,
)
from caloforge.foundations.errors import CaloforgeError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_text() == "half"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(1)])
def test_on_any_error_the_older_file_stays(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "x") as temporary:
            temporary.write_text("new")
            raise error

    write_text(tmp_path / "x", "old")
    with pytest.raises(type(error)):
        write()
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_system_names_the_final_file(tmp_path: Path, number: int) -> None:
    with pytest.raises(CaloforgeError) as caught, atomic_path(tmp_path / "x"):
        raise OSError(number, "whatever a library says\nin several lines")
    assert str(caught.value) == f"{tmp_path / 'x'}: cannot be written: {os.strerror(number)}"


def test_an_error_about_another_file_is_not_blamed_on_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "x"):
        (tmp_path / "other").read_text()
    assert names(tmp_path) == []


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(CaloforgeError, match="x: cannot be written: No such file"),
        atomic_path(tmp_path / "x"),
    ):
        pass


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x") as one, atomic_path(tmp_path / "x") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "x").read_text() == "one"  # the outer block ends last


def test_a_long_name_has_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    write_text(path, "content")
    assert path.read_text() == "content"


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, 2.5, None]})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": [\n    1,\n    2.5,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": math.nan})
    assert "2.5" in (tmp_path / "x.json").read_text()


def test_checksum(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 10**6)
    assert sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 10**6).hexdigest()


def test_where_nothing_can_be_written_is_said_early(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "input").touch()
    (tmp_path / "same").symlink_to("input")
    for path, words in {
        tmp_path: "this is a folder",
        tmp_path / "none" / "x": "none does not exist",
        tmp_path / "file" / "x": "file does not exist",
        tmp_path / "pipe": "not a regular file",
        Path(os.devnull): "not a regular file",
        tmp_path / ("x" * 300): "File name too long",
        tmp_path / "input": "would replace an input",
        tmp_path / "same": "would replace an input",
        tmp_path / ".." / tmp_path.name / "input": "would replace an input",
    }.items():
        with pytest.raises(UsageError, match=words):
            check_output_path(path, tmp_path / "input")
    check_output_path(tmp_path / "new", tmp_path / "input")
    check_output_path(tmp_path / "file", tmp_path / "input")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_system_that_refuses_the_folder_is_told_so() -> None:
    with pytest.raises(CaloforgeError, match="/proc/x: cannot be written"):
        write_text(Path("/proc/x"), "content")


def test_a_folder_appears_whole_in_the_place_of_the_older_one(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "x") as temporary:
            (temporary / content).write_text(content)
            assert not (tmp_path / "x" / "new").exists()
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["new"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt()])
def test_on_any_error_the_older_folder_stays(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").touch()
    with pytest.raises(type(error)), atomic_folder(tmp_path / "x"):
        raise error
    assert names(tmp_path) == ["x"]
    assert names(tmp_path / "x") == ["old"]


def test_an_error_of_the_system_names_the_final_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(CaloforgeError, match="x: cannot be written: No space left"),
        atomic_folder(tmp_path / "x"),
    ):
        raise OSError(errno.ENOSPC, "full")
    assert names(tmp_path) == []


WRITER = """
import sys
from pathlib import Path
from caloforge.foundations.durable import atomic_folder, atomic_path
path, kind = Path(sys.argv[1]), {"file": atomic_path, "folder": atomic_folder}[sys.argv[2]]
with kind(path) as temporary:
    (temporary if sys.argv[2] == "file" else temporary / "content").write_text("half")
    print("writing", flush=True)
    input()
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path, kind: str
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "x"), kind]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        killed, living = (
            stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            for _ in range(2)
        )
        for process in (killed, living):
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
        killed.kill()
        killed.wait()
        assert len(names(tmp_path)) == 2
        write_text(tmp_path / "x.y", "of another name")
        assert len(names(tmp_path)) == 3
        with atomic_folder(tmp_path / "x"):
            pass
        assert len(names(tmp_path)) == 3  # x, x.y, and what the living one writes
        assert living.stdin is not None
        (tmp_path / "x").rmdir()
        living.stdin.write("\n")
        living.stdin.flush()
        assert living.wait() == 0
    assert names(tmp_path) == ["x", "x.y"]


def test_a_link_is_followed_to_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in ("file", "new", "folder"):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "file").write_text("old")
    (tmp_path / "disk" / "folder").mkdir()
    write_text(tmp_path / "file", "content")
    write_text(tmp_path / "new", "content")
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "x").touch()
    assert names(tmp_path) == ["disk", "file", "folder", "new"]
    assert all((tmp_path / name).is_symlink() for name in ("file", "new", "folder"))
    assert names(tmp_path / "disk") == ["file", "folder", "new"]
    assert (tmp_path / "disk" / "file").read_text() == "content"
    assert names(tmp_path / "disk" / "folder") == ["x"]


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(CaloforgeError, match="not a regular file"):
            write_text(tmp_path / name, "content")
    assert names(tmp_path) == ["link", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, "not here")
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "x", "content")
    assert (tmp_path / "x").read_text() == "content"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", max_size=2), VALUES, max_size=4), VALUES)
def test_sealed_data_come_back_however_they_are_laid_out_and_no_others(
    data: dict[str, object], other: object
) -> None:
    whole = sealed(data)
    assert unsealed(whole, "file") == data
    assert unsealed(json.loads(json.dumps(whole, indent=3, sort_keys=True)), "file") == data
    assert unsealed(yaml.safe_load(yaml.safe_dump(whole)), "file") == data
    assert unsealed(data, "file") == data  # of before there were checksums
    changed = {**whole, "a": other}
    if json.dumps(changed, sort_keys=True) != json.dumps(whole, sort_keys=True):
        with pytest.raises(CaloforgeError, match=r"^file: field sha256: changed or damaged"):
            unsealed(changed, "file")


@pytest.mark.parametrize("value", [{1, 2}, 1 + 2j, {"x": {1: 2, "a": 3}}, b"x"])
def test_what_json_cannot_hold_was_not_sealed(value: object) -> None:
    with pytest.raises(CaloforgeError, match="changed or damaged since it was written, alas"):
        unsealed({**sealed({"a": 1}), "b": value}, "file", ", alas")
