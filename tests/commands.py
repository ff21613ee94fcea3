"""The command line as tests run it: what a command left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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


Caloforge = Callable[..., Ran]
"""Runs the command line in this process: ``caloforge("inspect", path)``."""
