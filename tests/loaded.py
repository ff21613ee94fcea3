"""Processes that begin with torch in memory: to load it takes longer than a training of a few steps."""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from unittest import mock

from commands import PATIENCE_S

__all__ = ["Task", "keep_stores_in", "loaded", "start_loaded"]

LOADED = [
    "caloforge.cli.main",
    "caloforge.search.worker",
    "caloforge.training.trainer",
    "torch._dynamo",
    "pytest",
    "hypothesis",
]
"""What trainings and searches import, torch's optimisers with them, and tests."""


@cache
def loaded() -> ForkServerContext:
    """Return the context of such processes; one that holds torch, started here, is the parent of them all."""
    context = get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    # As the program does, where it has several workers, before it loads torch.
    with mock.patch.dict(os.environ, TORCH_CPP_LOG_LEVEL="ERROR"):
        forkserver.ensure_running()
    return context


def keep_stores_in(folder: Path) -> None:
    """Let this process, which does not see what a test sets, keep its stores there."""
    os.environ["CALOFORGE_CACHE"] = str(folder)


@dataclass(frozen=True)
class Task:
    """A program in a process with torch in memory, used like a ``Popen``; what it says goes to files of a folder."""

    process: ForkServerProcess
    folder: tempfile.TemporaryDirectory[str]

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> None:
        self.process.join(PATIENCE_S)

    def kill(self) -> None:
        self.process.kill()

    def terminate(self) -> None:
        self.process.terminate()

    def communicate(self, timeout: float = PATIENCE_S) -> tuple[str, str]:
        """Wait for its end, and return what it said on stdout and stderr."""
        self.process.join(timeout)
        with self.folder as folder:
            out, err = (Path(folder, stream).read_text() for stream in ("1", "2"))
        return out, err


def start_loaded(*command: object, **variables: object) -> Task:
    """Start what ``python`` with these words would, in a process that has torch in memory."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    folder = tempfile.TemporaryDirectory()
    words = [str(word) for word in command]
    process = loaded().Process(target=_become, args=(words, environment, folder.name), daemon=True)
    process.start()
    return Task(process, folder)


def _become(words: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
    """Do in this process what Python does when it is started with these words, here and in this environment."""
    for stream in (1, 2):
        os.dup2(os.open(Path(folder, str(stream)), os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(words[1:] if words[0] in ("-m", "-c") else words)
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        exec(words[1], {"__name__": "__main__"})
    else:
        runpy.run_path(words[0], run_name="__main__")
