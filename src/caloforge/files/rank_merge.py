"""The processes of one launch around one output file: how far each is, and when all have done their share.

They meet through small hidden files beside the output, in a folder that all of them see, and need no
network. Each process but the first rewrites its file every few seconds: one that falls silent is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from glob import escape
from io import FileIO
from pathlib import Path
from typing import Any, Self

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Progress, Say, say_nothing, silent
from caloforge.foundations.ranks import Ranks
from caloforge.foundations.texts import parse_json

__all__ = ["RankMerge"]

KEY_BYTES = 6

LOOK_EVERY_S = 0.2

TELL_EVERY_S = 2.0

SILENCE_S = 60.0
"""Whoever told something and then nothing for so long is gone."""

SILENT_S = 5.0
"""So long the first process waits before it says for whom."""

MEETING_S = 300.0
"""Whoever told nothing yet may take so long to start."""

ABSENT = {"state": "absent", "done": 0, "result": None}
"""What is known of another process before it tells anything."""


class RankMerge:
    """Ranks that make shares of one output, as one of them sees it. A context manager.

    ``work`` (JSON-ready) says what is made: what other work left behind is never taken for this one's.
    ``progress`` of the first process hears of all ``total`` units. A lone process needs no files and
    waits for nobody.
    """

    def __init__(
        self,
        output: Path,
        ranks: Ranks,
        work: Mapping[str, Any],
        total: int,
        progress: Progress = silent,
        say: Say = say_nothing,
    ) -> None:
        self._output, self._ranks, self._total, self._progress = output, ranks, total, progress
        self._say = say
        text = json.dumps([ranks.job, ranks.attempt, ranks.world, total, work], sort_keys=True)
        self._key = hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).hexdigest()
        self._done, self._beats, self._shown = 0, 0, -1
        self._looked_s = float("-inf")
        others = range(1, ranks.world if ranks.leads else 1)
        self._told: dict[int, dict[str, Any]] = dict.fromkeys(others, ABSENT)
        self._heard_s: dict[int, float] = {}
        self._file: FileIO | None = None
        self._still = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="caloforge-rank", daemon=True)

    def part(self, rank: int) -> Path:
        """Name the file for what ``rank`` made; the first process removes it in the end."""
        return self._path(rank, "part")

    def _path(self, rank: int, kind: str) -> Path:
        return self._output.with_name(f".{self._output.name}.{self._key}.{rank}.{kind}")

    def __enter__(self) -> Self:
        self._heard_s = dict.fromkeys(self._told, time.monotonic())
        if not self._ranks.leads:
            self.part(self._ranks.rank).unlink(missing_ok=True)
            path = self._path(self._ranks.rank, "rank")
            self._file = FileIO(
                os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "r+"
            )
            self._tell("works")
            self._heart.start()
        return self

    def report(self, done: int, total: int, **figures: float | str) -> None:
        """Tell how far this process is with its share of ``total`` units."""
        if self._ranks.world == 1:
            self._progress(done, total, **figures)
            return
        self._done = done
        if self._ranks.leads and time.monotonic() - self._looked_s > LOOK_EVERY_S:
            self._look()
            self._show(**figures)

    def finish(self, result: Any = None) -> list[Any]:
        """Say that this share is finished; the first process waits until all are.

        Results (JSON-ready) come in the order of the ranks, on the others only their own. Raises
        CaloforgeError naming the ranks that are gone.
        """
        if not self._ranks.leads:
            self._stop()
            self._tell("done", result)
            return [result]
        said, began = False, time.monotonic()
        while True:
            self._look()
            if self._told:
                self._show()
            if all(told["state"] == "done" for told in self._told.values()):
                return [result, *(told["result"] for told in self._told.values())]
            self._require_alive()
            absent = self._silent("absent", 0.0)
            if absent and not said and time.monotonic() - began > SILENT_S:
                said = True
                self._say(f"waiting for {self._named(absent)}, which has not come yet")
            time.sleep(LOOK_EVERY_S)

    def _show(self, **figures: float | str) -> None:
        done = self._done + sum(told["done"] for told in self._told.values())
        if done != self._shown:
            self._shown = done
            self._progress(done, self._total, **figures)

    def _beat(self) -> None:
        while not self._still.wait(TELL_EVERY_S):
            with suppress(OSError):  # the work itself will say that the disk is full
                self._tell("works")

    def _stop(self) -> None:
        self._still.set()
        if self._heart.is_alive():
            self._heart.join()

    def _tell(self, state: str, result: Any = None) -> None:
        assert self._file is not None
        self._beats += 1
        line = json.dumps({"state": state, "done": self._done, "result": result, "beat": self._beats})
        os.pwrite(self._file.fileno(), line.encode() + b"\n", 0)
        os.ftruncate(self._file.fileno(), len(line) + 1)
        os.fsync(self._file.fileno())

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        for rank, before in self._told.items():
            # Opened anew, so that a network's file system shows what is there now. A line may be read
            # while it is written; the next look sees all of it.
            with suppress(OSError, ValueError, AttributeError):
                told = parse_json(self._path(rank, "rank").read_text(encoding="utf-8"), finite=False)
                if told != before and told.keys() > ABSENT.keys():
                    self._told[rank], self._heard_s[rank] = told, time.monotonic()

    def _named(self, ranks: Sequence[int]) -> str:
        more = ", ..." if len(ranks) > 8 else ""
        return f"rank {', '.join(map(str, ranks[:8]))}{more} of {self._ranks.world}"

    def _silent(self, state: str, since_s: float) -> list[int]:
        """List the ranks in a state that have told nothing new for so long."""
        latest = time.monotonic() - since_s
        return [
            r for r, told in self._told.items() if told["state"] == state and self._heard_s[r] <= latest
        ]

    def _require_alive(self) -> None:
        gone = sorted(self._silent("failed", 0.0) + self._silent("works", SILENCE_S))
        if gone:
            raise CaloforgeError(
                f"{self._named(gone)} is gone (it failed or was killed, or its node was lost)"
            )
        if late := self._silent("absent", MEETING_S):
            raise CaloforgeError(
                f"{self._named(late)} did not come within {MEETING_S:.0f} s; all ranks must see the folder {self._output.resolve().parent} "
                "and share the name of a job (torchrun: --rdzv-id)"
            )

    def __exit__(self, kind: object, *_: object) -> None:
        if self._file is not None:
            self._stop()
            if kind is not None:
                with suppress(OSError):
                    self._tell("failed")
            self._file.close()
        if self._told:
            # When all is done, also what killed launches left.
            key = "[0-9a-f]" * 2 * KEY_BYTES if kind is None else self._key
            for name in ("rank", "part"):
                for path in self._output.parent.glob(
                    f".{escape(self._output.name)}.{key}.[0-9]*.{name}"
                ):
                    path.unlink(missing_ok=True)
