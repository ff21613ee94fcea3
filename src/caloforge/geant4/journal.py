"""Showers of a run in progress, kept so that a killed run loses only what was under way.

A journal is one file: a line of JSON that says what the run is, then a record for each finished
shower, in any order. Line and records carry their checksums, so whatever a kill or a power cut left at the
end is recognised and dropped. It is locked while a process writes it; others may read what is complete.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.durable import sealed, sync_folder, unsealed
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.locks import lock
from caloforge.foundations.texts import parse_json

__all__ = ["Journal", "Records"]

RECORD = struct.Struct("<4sIII")
"""Mark, checksum of the rest, shower number, cells hit; then cells (uint32) and deposits (float32)."""

MARK = b"SHWR"
SYNC_EVERY_S = 10.0
MAX_HEADER = 1 << 20
GONE = "delete this file to begin anew"


class Records:
    """The complete records of a journal as they are at this moment, whoever writes it. A context manager.

    ``manifest`` (JSON-ready) decides the showers, on a grid of ``n_cells``. Raises UsageError if the file
    holds showers of another manifest, naming what differs, CaloforgeError if it was changed.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], n_cells: int = 1 << 32) -> None:
        self.path, self.n_cells = path, n_cells
        self._manifest = json.loads(json.dumps(manifest))
        self._file: FileIO
        self._offsets: dict[int, int] = {}

    def __enter__(self) -> Self:
        self._file = FileIO(self.path)
        with ExitStack() as stack:
            stack.enter_context(self._file)
            self._find()
            stack.pop_all()  # it stays open
        return self

    def _find(self) -> int:
        """Find the complete records and return the place where the last one ends."""
        line = self._file.readline(MAX_HEADER)
        end = self._file.tell()
        size = os.fstat(self._file.fileno()).st_size
        while (record := self._record(size)) is not None:
            if not self._offsets:
                self._check(line)
            index, cell, deposit = record
            possible = (deposit >= 0) & (deposit < np.inf) & (cell < self.n_cells)
            if not possible.all():
                raise CaloforgeError(
                    f"{self.path}: shower {index}: expected finite deposits >= 0 in {self.n_cells} cells; {GONE}"
                )
            self._offsets[index] = end
            end = self._file.tell()
        return end

    def _check(self, line: bytes) -> None:
        try:
            found = unsealed(parse_json(line), f"{self.path}, line 1", f"; {GONE}")
        except (ValueError, AttributeError):
            raise CaloforgeError(f"{self.path}, line 1: expected JSON; {GONE}") from None
        keys = {**found, **self._manifest}
        differs = [key for key in keys if found.get(key) != self._manifest.get(key)]
        if differs:
            raise UsageError(
                f"{self.path}: holds an unfinished run with other {', '.join(differs)}; "
                "finish it with its own options, choose another output, or delete this file"
            )

    def _record(self, size: int) -> tuple[int, NDArray[np.uint32], NDArray[np.float32]] | None:
        head = self._file.read(RECORD.size)
        if len(head) < RECORD.size:
            return None
        mark, checksum, index, hits = RECORD.unpack(head)
        if mark != MARK or self._file.tell() + 8 * hits > size:
            return None
        body = self._file.read(8 * hits)
        if zlib.crc32(head[8:] + body) != checksum:
            return None
        cell = np.frombuffer(body, np.uint32, hits)
        return index, cell, np.frombuffer(body, np.float32, hits, 4 * hits)

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, index: int) -> bool:
        return index in self._offsets

    def __iter__(self) -> Iterator[int]:
        return iter(self._offsets)

    def read(self, index: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """Read a shower back: its cells and deposits. Raises KeyError if it is not there."""
        self._file.seek(self._offsets[index])
        record = self._record(os.fstat(self._file.fileno()).st_size)
        assert record is not None, "a record that was checked on opening is gone"
        return record[1], record[2]

    def __exit__(self, *error: object) -> None:
        self._file.close()


class Journal(Records):
    """A journal open for writing. A context manager; :meth:`clear` it once the final file is written.

    An empty journal does not outlive its block. Raises UsageError also if another process is writing it.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], n_cells: int = 1 << 32) -> None:
        super().__init__(path, manifest, n_cells)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        # Unbuffered: a record is with the system, or not written, when append returns.
        create = os.O_CREAT | os.O_NOFOLLOW
        try:
            self._file = FileIO(
                self.path, "r+", opener=lambda path, flags: os.open(path, flags | create, 0o644)
            )
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise UsageError(f"{self.path}: expected a journal, this is a link") from None
        with ExitStack() as stack:
            stack.enter_context(self._file)
            self._open()
            stack.pop_all()
        return self

    def _open(self) -> None:
        lock(self._file, f"{self.path}: another process is simulating into this file")
        end = self._find()
        header = json.dumps(sealed(self._manifest)).encode() + b"\n"
        if not self._offsets:
            ours = header.partition(b":")[0]  # as every journal begins
            self._file.seek(0)
            if not ours.startswith(self._file.read(len(ours))):
                raise UsageError(
                    f"{self.path}: expected a journal, this is another file; choose another output"
                )
        self._file.seek(end if self._offsets else 0)
        self._file.truncate()
        if not self._offsets:
            self._file.write(header)
            sync_folder(self.path.parent)

    def append(self, index: int, cell: NDArray[np.uint32], deposit: NDArray[np.float32]) -> None:
        """Add a finished shower; it survives a kill at once and a power cut after ten seconds.

        Raises CaloforgeError where it cannot be written.
        """
        body = cell.astype("<u4").tobytes() + deposit.astype("<f4").tobytes()
        rest = RECORD.pack(MARK, 0, index, len(cell))[8:]
        head = RECORD.pack(MARK, zlib.crc32(rest + body), index, len(cell))
        try:
            offset = self._file.seek(0, os.SEEK_END)
            if self._file.write(head + body) != len(head + body):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if time.monotonic() - self._synced > SYNC_EVERY_S:
                self.sync()
        except OSError as error:
            raise CaloforgeError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._offsets[index] = offset

    def sync(self) -> None:
        """Let the showers survive a power cut, and be seen from other nodes, from now on."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def clear(self) -> None:
        """Forget the showers: they have found their place."""
        self._offsets.clear()

    def __exit__(self, *error: object) -> None:
        if not self._offsets:
            self.path.unlink(missing_ok=True)
        super().__exit__(*error)
