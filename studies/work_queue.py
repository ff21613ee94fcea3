"""Pieces of work that processes on any node share through a folder, each done once.

Whoever works on a piece holds a lock on its claim, which the system frees when the process dies: then another takes
the piece up. A piece is done when its result has its name, which it gets whole or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import clear_leftovers, write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.locks import BusyError, open_locked
from caloforge.foundations.texts import read_json

__all__ = ["WorkQueue"]

LOOK_AGAIN_S = 0.05
MANIFEST, CLAIMS = "manifest.json", "claims"


class WorkQueue:
    """Pieces of work 0 to ``count`` - 1 in a folder, which is made; their results are JSON objects.

    ``manifest`` decides the results. Raises UsageError where the folder holds those of another manifest, or
    anything that no queue wrote.
    """

    def __init__(self, folder: Path, count: int, manifest: Mapping[str, Any]) -> None:
        self.folder, self.count = folder, count
        self._results: dict[int, Any] = {}
        path = folder / MANIFEST
        if folder.is_dir() and not path.exists() and any(folder.glob("[!.]*")):
            raise UsageError(
                f"{folder}: expected a new folder or one with unfinished work, it holds other files"
            )
        wanted = json.loads(json.dumps(manifest))
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, wanted)
        (folder / CLAIMS).mkdir(exist_ok=True)
        found = _read(path)
        differs = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
        if differs:
            raise UsageError(
                f"{folder}: holds unfinished work with other {', '.join(differs)}; "
                "finish it with its own options, choose another output, or delete this folder"
            )

    def results(self) -> dict[int, Any]:
        """Return the results so far, by number."""
        for number in range(self.count):
            if number not in self._results and self.path(number).exists():
                self._results[number] = _read(self.path(number))
        return dict(sorted(self._results.items()))

    def work(self, do: Callable[[int], Mapping[str, Any]]) -> Iterator[int]:
        """Do what nobody else does until all is done; yield the number of each result that appears meanwhile.

        ``do`` makes a result.
        """
        told = set[int]()
        while True:
            with self._claim() as number:
                if number is not None:
                    write_json(self.path(number), do(number))
            fresh = self.results().keys() - told
            yield from sorted(fresh)
            told |= fresh
            if len(told) == self.count:
                return
            if number is None:
                time.sleep(LOOK_AGAIN_S)

    def path(self, number: int, suffix: str = ".json") -> Path:
        """Name the result of a piece of work, or with another suffix what lies beside it."""
        return self.folder / f"{number:06d}{suffix}"

    def finish(self, *suffixes: str) -> None:
        """Remove what the queue wrote, and what lies beside the results; the folder too if nothing else is in it."""
        for number in range(self.count):
            for suffix in (".json", *suffixes):
                self.path(number, suffix).unlink(missing_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)
        for prefix in (f".{MANIFEST}.", ".0"):
            clear_leftovers(self.folder, prefix)
        for number in range(self.count):
            self._claim_path(number).unlink(missing_ok=True)
        for folder in (self.folder / CLAIMS, self.folder):
            with suppress(OSError):  # it holds somebody's files
                folder.rmdir()

    @contextmanager
    def _claim(self) -> Iterator[int | None]:
        """Hold a piece of work that is neither done nor held by another; None if there is none."""
        for number in range(self.count):
            if number in self._results or self.path(number).exists():
                continue
            path = self._claim_path(number)
            try:
                claim = open_locked(path, "taken")
            except BusyError:
                continue
            with claim:
                free = not self.path(number).exists()  # it may have been done while we opened the file
                if free:
                    yield number
                path.unlink(missing_ok=True)
            if free:
                return
        yield None

    def _claim_path(self, number: int) -> Path:
        return self.folder / CLAIMS / f"{number:06d}"


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except CaloforgeError as error:
        raise CaloforgeError(f"{error}; the file is damaged, delete it") from None
