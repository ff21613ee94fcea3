"""The command line as tests run it: what a command left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 600
"""Only a test that hangs ever waits so long, however slow the machine."""


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as ``condition`` holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass(frozen=True)
class Ran:
    """Exit code, and the text on stdout and stderr."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """Require this exit code and one line on stderr that holds all ``words``, and nothing else."""
        assert self.code == code, self.err
        assert self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        assert len(self.err) < 1000
        for word in words:
            assert word in self.err
        assert not self.out


MadeOnce = Callable[[str, Callable[[Path], object]], Path]
"""Has a folder filled once for all test processes: ``made_once("name", fill)``."""

GiveAway = Callable[[Path], None]
"""Makes a file another user's: ``give_away(path)``."""

Caloforge = Callable[..., Ran]
"""Runs the command line in this process: ``caloforge("inspect", path)``."""
