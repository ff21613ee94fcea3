"""The processes of one launch around one output file: how far each is, and when all have done their share.

They meet through small hidden files beside the output, in a folder that all of them see, and need no
network. A process holds a lock on its file for as long as it lives.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from caloforge.errors import CaloforgeError
from caloforge.progress import Progress, silent
from caloforge.ranks import Ranks

__all__ = ["Gathering"]

KEY_BYTES = 6

LOOK_EVERY_S = 0.2

TELL_EVERY_S = 1.0

SILENCE_S = 300.0
"""A process that was never seen alive, or whose lock another node does not see, counts as gone when
it told nothing new for so long."""


@dataclass
class _Seen:
    """What the first process knows of another."""

    done: int = 0
    note: Any = None
    finished: bool = False
    text: str = ""
    news_s: float = 0.0
    alive: bool = False


class Gathering:
    """Ranks that make shares of one output, as one of them sees it. A context manager.

    ``work`` (JSON-ready) says what is made: what other work left behind is never taken for this one's.
    A lone process needs no files and waits for nobody.
    """

    def __init__(
        self,
        output: Path,
        ranks: Ranks,
        work: Mapping[str, Any],
        total: int,
        progress: Progress = silent,
    ) -> None:
        self._output, self._ranks, self._total, self._progress = output, ranks, total, progress
        text = json.dumps([ranks.job, ranks.attempt, ranks.world, total, work], sort_keys=True)
        self._key = hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).hexdigest()
        self._file: FileIO | None = None
        self._told_s = float("-inf")
        self._done = 0
        self._others = {rank: _Seen() for rank in range(1, ranks.world)} if ranks.leads else {}

    def part(self, rank: int) -> Path:
        """Name the file for what ``rank`` made; the first process removes it in the end."""
        return self._path(rank, "part")

    def _path(self, rank: int, kind: str) -> Path:
        return self._output.with_name(f".{self._output.name}.{self._key}.{rank}.{kind}")

    def __enter__(self) -> Self:
        if not self._ranks.leads:
            self.part(self._ranks.rank).unlink(missing_ok=True)
            path = self._path(self._ranks.rank, "rank")
            self._file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), "r+")
            with suppress(OSError):  # a file system without locks: silence is all that tells
                fcntl.flock(self._file, fcntl.LOCK_EX)
        now = time.monotonic()
        for seen in self._others.values():
            seen.news_s = now
        return self

    def report(self, done: int, total: int, **figures: float) -> None:
        """Tell how far this process is with its share; ``progress`` hears how far all are."""
        if self._ranks.world == 1:
            self._progress(done, total, **figures)
            return
        self._done = done
        if time.monotonic() - self._told_s < TELL_EVERY_S:
            return
        self._told_s = time.monotonic()
        if self._ranks.leads:
            self._look()
            self._progress(self._all_done(), self._total, **figures)
        else:
            self._tell()

    def gather(self, note: Any = None) -> list[Any]:
        """Say that this share is finished; the first process waits until all are.

        Notes (JSON-ready) come in the order of the ranks, on the others only their own. Raises
        CaloforgeError naming the ranks that are gone.
        """
        if not self._ranks.leads:
            self._tell(note, finished=True)
            return [note]
        while True:
            self._look()
            waiting = {rank: seen for rank, seen in self._others.items() if not seen.finished}
            if self._others:
                self._progress(self._all_done(), self._total)
            if not waiting:
                return [note, *(seen.note for seen in self._others.values())]
            self._require_alive(waiting)
            time.sleep(LOOK_EVERY_S)

    def _all_done(self) -> int:
        return self._done + sum(seen.done for seen in self._others.values())

    def _tell(self, note: Any = None, *, finished: bool = False) -> None:
        assert self._file is not None
        # One write of a whole line: who reads less than a line waits for the rest.
        line = json.dumps({"done": self._done, "finished": finished, "note": note})
        os.pwrite(self._file.fileno(), line.encode() + b"\n", 0)
        os.ftruncate(self._file.fileno(), len(line) + 1)
        os.fsync(self._file.fileno())

    def _look(self) -> None:
        for rank, seen in self._others.items():
            if seen.finished:
                continue
            try:
                # Opened anew, so that a network's file system shows what is there now.
                with self._path(rank, "rank").open("r", encoding="utf-8") as file:
                    held = _is_locked(file.fileno())
                    text = file.read()
            except OSError:
                continue
            if text != seen.text:
                seen.text, seen.news_s = text, time.monotonic()
                with suppress(ValueError):
                    told = json.loads(text)
                    seen.done, seen.finished, seen.note = told["done"], told["finished"], told["note"]
            if held:
                seen.alive, seen.news_s = True, time.monotonic()
            elif seen.alive and not seen.finished:
                seen.news_s = float("-inf")

    def _require_alive(self, waiting: Mapping[int, _Seen]) -> None:
        now = time.monotonic()
        gone = [rank for rank, seen in waiting.items() if now - seen.news_s > SILENCE_S]
        if not gone:
            return
        who = f"rank {', '.join(map(str, gone))} of {self._ranks.world}"
        if any(waiting[rank].alive for rank in gone):
            raise CaloforgeError(f"{who} is gone (it failed or was killed, or its node was lost)")
        raise CaloforgeError(
            f"{who} told nothing for {SILENCE_S:.0f} s; all ranks must see the folder "
            f"{self._output.resolve().parent} and share the name of a job (torchrun: --rdzv-id)"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._others:
            # When all is done, also what killed launches left.
            key = "[0-9a-f]" * 2 * KEY_BYTES if kind is None else self._key
            for name in ("rank", "part"):
                for path in self._output.parent.glob(
                    f".{escape(self._output.name)}.{key}.[0-9]*.{name}"
                ):
                    path.unlink(missing_ok=True)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False
