"""``python faulty.py FAULT:WHEN,... train ...``: the program, and faults that come by design, not by luck.

Each attempt of a launch has its own, as long as there are some. In the write of the checkpoint of step WHEN, by rank 0:

- ``torn``, ``unnamed``, ``named``: it is killed with half of the file written, before the file gets
  its name, before older ones go;
- ``other``: rank 1 is killed meanwhile;
- ``full``: no file may grow beyond 100 kB from now on;
- ``term``: rank 1 is asked to stop;
- ``vanish``: the training data is removed, then it is killed as with ``named``;
- ``hidden``: the training data is removed, nothing else.

``rank0`` and ``rank1`` kill a rank when gradients are on their way for the WHENth time.
"""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caloforge.cli.main import main
from caloforge.foundations.ranks import Ranks


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, act: Callable[..., None]) -> None:
    """Let something happen before each call of a function."""
    function = getattr(owner, name)

    def with_fault(*arguments: Any) -> Any:
        act(*arguments)
        return function(*arguments)

    setattr(owner, name, with_fault)


def prepare(fault: str, when: int, rank: int, words: list[str]) -> None:
    """Put the fault where it will come."""
    from caloforge.foundations import durable
    from caloforge.training.gradients import SummedGradients

    data, run = (Path(words[words.index(option) + 1]) for option in ("--data", "--out"))
    pids = run.parent / "pids"
    pids.mkdir(exist_ok=True)
    (pids / str(rank)).write_text(str(os.getpid()))
    final = f"step-{when:08d}.safetensors"

    def writing(path: Path, content: bytes) -> None:
        if final not in path.name:
            return
        if fault == "torn":
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
            die()
        if fault in ("other", "term"):
            number = signal.SIGKILL if fault == "other" else signal.SIGTERM
            os.kill(int((pids / "1").read_text()), number)
        if fault == "full":
            before_it = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before_it[1]))
            # What measures the tests' coverage writes its own file at the end.
            atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, before_it)
        if fault in ("vanish", "hidden"):
            data.unlink()

    def renaming(_: Path, target: Path) -> None:
        if fault == "unnamed" and Path(target).name == final:
            die()

    def named(folder: Path) -> None:
        if fault in ("named", "vanish") and (folder / final).exists():
            die()

    turns = [0]

    def adding_up(_: SummedGradients) -> None:
        turns[0] += 1
        if fault == f"rank{rank}" and turns[0] == when:
            die()

    before(Path, "write_bytes", writing)
    before(Path, "replace", renaming)
    before(durable, "sync_folder", named)
    before(SummedGradients, "wait", adding_up)


if __name__ == "__main__":
    faults, *words = sys.argv[1:]
    sys.argv[1:] = words
    ranks = Ranks.from_environment()
    mine = faults.split(",")[ranks.attempt :]
    if mine:
        fault, when = mine[0].split(":")
        os.environ.setdefault(
            "TORCH_CPP_LOG_LEVEL", "ERROR"
        )  # before torch is loaded, as the program does
        prepare(fault, int(when), ranks.rank, words)
    main()
