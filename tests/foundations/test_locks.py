"""Locks between processes: one holds it, the others wait or are told, and a killed one lets go."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.locks import BusyError, open_locked

HOLDER = """
import sys
from pathlib import Path
from caloforge.foundations.locks import open_locked
file = open_locked(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


@pytest.mark.process
def test_a_lock_is_held_until_its_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match="in use"):
            open_locked(tmp_path / "lock", "in use")
        holder.kill()
    open_locked(tmp_path / "lock", "in use").close()
    with open_locked(tmp_path / "lock"), pytest.raises(BusyError):
        open_locked(tmp_path / "lock", "in use")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524])
def test_a_file_system_without_locks_is_told_once_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for _ in range(2):
        with open_locked(tmp_path / "lock", "in use"), open_locked(tmp_path / "other", "in use"):
            pass
    (said,) = caplog.messages
    assert said.startswith(
        f"caloforge: warning: {tmp_path}: the file system has no locks (no locks here)"
    )


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").symlink_to("precious")
    (tmp_path / "nowhere").symlink_to("absent")
    for name in ("lock", "nowhere"):
        with pytest.raises(CaloforgeError, match=rf"{name}: expected a file to lock, this is a link"):
            open_locked(tmp_path / name)
    assert (tmp_path / "precious").read_text() == "content"
    assert not (tmp_path / "absent").exists()
