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


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(CaloforgeError, match=r"lock: the file system has no locks: No locks available"):
        open_locked(tmp_path / "lock", "in use")
