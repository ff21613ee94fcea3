"""Shower files, version 1, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.digest import ContentDigest, header_digest, row_crcs
from caloforge.files.hit_files import HIT_FILES, HitWriter, hit_writer
from caloforge.files.packing import LEVEL, PackedShowers, deflate, pieces
from caloforge.files.shower_file import (
    FORMAT,
    TYPES,
    UNITS,
    VERSION,
    ShowerFile,
    check_deposits,
    columns_of,
)
from caloforge.foundations.durable import atomic_path, check_output_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.showers import Showers

__all__ = ["ShowerWriter", "check_shower_path", "open_writer", "reserve", "write"]

CHUNK_BYTES = 1 << 20
HDF5 = ("", ".h5", ".hdf5", ".hdf", ".he5")


def check_shower_path(path: Path, *inputs: Path) -> None:
    """Say early that showers cannot be written at ``path``, whose name says what kind of file it will be.

    Raises UsageError, as :func:`~caloforge.foundations.durable.check_output_path` does, or MissingExtraError.
    """
    check_output_path(path, *inputs)
    if path.suffix.lower() not in HDF5 and hit_writer(path.suffix.lower()) is None:
        known = f"{path.stem}.h5, or for hits {', '.join(path.stem + suffix for suffix in HIT_FILES)}"
        raise UsageError(f"{path}: showers are not written as {path.suffix}; expected {known}")


def open_writer(path: str | Path, grid: Grid, provenance: Mapping[str, Any]) -> ShowerWriter | HitWriter:
    """Return the writer, not open yet, of a shower file or of hits, as the name's ending says.

    Raises as :func:`check_shower_path` does.
    """
    check_shower_path(Path(path))
    kind = hit_writer(Path(path).suffix.lower()) or ShowerWriter
    return kind(path, grid, provenance)


def reserve(path: Path, file: h5py.File | None, n_bytes: int) -> None:
    """Take space on the disk ahead of the HDF5 library, which crashes the process if a write fails.

    Besides ``n_bytes`` there is room for what the library has not written yet: its cache for each
    column, which is one CHUNK_BYTES, and its own records.
    """
    size = 0 if file is None else file.id.get_filesize()
    with path.open("r+b") as raw:
        os.posix_fallocate(raw.fileno(), size, n_bytes + 8 * CHUNK_BYTES)


class ShowerWriter:
    """Writes a shower file piece by piece; it appears under its name only when complete.

    Use as a context manager and call :meth:`append`. Columns that the first piece lacks
    (``incident_phi``, ``impact_xy``, ``pdg_id``) stay out of the file. ``provenance`` may be filled until the end.
    """

    def __init__(self, path: str | Path, grid: Grid, provenance: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.grid = grid
        self.provenance = dict(provenance)
        rows = max(1, CHUNK_BYTES // (4 * grid.n_cells))
        self._begun = np.zeros((rows, *grid.shape), np.float32)  # the chunk that is not full yet
        self._stack = ExitStack()
        self._file: h5py.File | None = None
        self._columns: dict[str, h5py.Dataset] = {}  # kept open, and with them their last chunk unpacked
        self._temporary = self.path
        self._length = 0
        self._digest = ContentDigest()

    def __enter__(self) -> Self:
        check_output_path(self.path)
        with ExitStack() as stack:
            self._temporary = stack.enter_context(atomic_path(self.path))
            self._temporary.touch()
            self._reserve(0)
            self._file = stack.enter_context(
                h5py.File(self._temporary, "w", locking=False, rdcc_nbytes=CHUNK_BYTES)
            )
            self._reserve(0)
            self._file.attrs["format"] = FORMAT
            self._file.attrs["version"] = VERSION
            self._file.attrs["detector"] = self._detector = json.dumps(
                self.grid.to_json(), allow_nan=False
            )
            stack.push(lambda kind, *_: None if kind else self._finish())
            self._stack = stack.pop_all()
        return self

    def _reserve(self, n_bytes: int) -> None:
        reserve(self._temporary, self._file, n_bytes)

    def pack(self, showers: Showers, first: int) -> PackedShowers:
        """Check showers that will be appended from row ``first``, and compress the chunks that they fill.

        It takes most of the time of writing, needs no open file and may run in any thread. Raises
        CaloforgeError if showers lie on another grid or hold an impossible deposit.
        """
        if not self.grid.same_cells(showers.grid):
            raise CaloforgeError(
                f"{self.path}: expected showers of shape {self.grid.shape}, got {showers.grid.shape}"
            )
        chunks: dict[int, bytes] = {}
        deposits = showers.deposits.astype(TYPES["showers"], copy=False)
        for row, stop in pieces(first, first + len(showers), len(self._begun)):
            piece = deposits[row - first : stop - first]
            check_deposits(piece, self.path, row)
            if len(piece) == len(self._begun):
                chunks[row] = deflate(piece)
        return PackedShowers(showers, first, chunks, row_crcs(deposits))

    def append(self, showers: Showers | PackedShowers) -> None:
        """Add showers at the end.

        Raises CaloforgeError if they lie on another grid or hold an impossible deposit.
        """
        if self._file is None:
            raise RuntimeError("ShowerWriter is used outside its with block")
        packed = self.pack(showers, self._length) if isinstance(showers, Showers) else showers
        if packed.first != self._length:
            raise ValueError(f"showers are packed for row {packed.first}, the next is {self._length}")
        columns, crcs = columns_of(packed.showers), packed.crcs
        self._lengthen(columns)
        for name, values in columns.items():
            crcs = row_crcs(values, crcs) if name in self._columns else crcs
        self._digest.add(crcs)
        deposits = packed.showers.deposits
        for row, stop in pieces(packed.first, self._length, len(self._begun)):
            chunk = packed.chunks.get(row)
            if chunk is None:
                start = row % len(self._begun)
                self._begun[start : start + stop - row] = deposits[
                    row - packed.first : stop - packed.first
                ]
                if stop % len(self._begun):
                    continue
                chunk = deflate(self._begun)
            self._write_chunk(row, chunk)

    def _lengthen(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write the columns of further showers, and make room for their deposits."""
        assert self._file is not None
        self._reserve(sum(values.nbytes for values in columns.values()))
        if not self._columns:
            self._create(columns)
        missing = self._columns.keys() - columns.keys() - {"showers"}
        if missing:
            raise CaloforgeError(f"{self.path}: field {missing.pop()} is missing in later showers")
        start, self._length = self._length, self._length + len(columns["incident_energy"])
        for name, dataset in self._columns.items():
            dataset.resize(self._length, axis=0)
            if name != "showers":
                dataset[start:] = columns[name]

    def _write_chunk(self, row: int, packed: bytes, filters: int = 0) -> None:
        self._reserve(len(packed))
        first = row - row % len(self._begun)
        self._columns["showers"].id.write_direct_chunk((first, 0, 0, 0), packed, filters)

    def join(self, part: ShowerFile) -> None:
        """Add all showers of a file that this class wrote for the same cells.

        Packed deposits are copied as they are where the last chunk is full, else unpacked and checked
        as :meth:`append` does; the digest goes on with that of the part, so that what has changed since is
        found. Raises CaloforgeError.
        """
        if not len(part):
            return
        fields = self._columns.keys() - {"showers"}
        if part.digest is None or (fields and fields != columns_of(part).keys()):
            raise CaloforgeError(f"{part.path}: expected the fields of {self.path}, and a digest")
        rows = len(self._begun)
        mine, theirs = self._columns.get("showers"), part.deposits
        whole, start, digest = 0, self._length, replace(self._digest)
        if mine is not None and _packed_alike(mine, theirs) and start % rows == 0:
            whole = len(part) // rows * rows
        if whole:
            self._lengthen(columns_of(part, slice(whole)))
        for row in range(0, whole, rows):
            filters, packed = theirs.id.read_direct_chunk((row, 0, 0, 0))
            self._write_chunk(start + row, packed, filters)
        for first in range(whole, len(part), rows):
            self.append(part.read(first, first + rows))
        digest.join(part.digest, len(part))
        self._digest = digest

    def _create(self, columns: Mapping[str, NDArray[Any]]) -> None:
        assert self._file is not None
        tails = {name: values.shape[1:] for name, values in columns.items()}
        for name, tail in ({"showers": self.grid.shape} | tails).items():
            rows = len(self._begun) if name == "showers" else 4096
            # What is deflated carries a checksum already.
            packed = {"compression": "gzip", "compression_opts": LEVEL}
            dataset = self._file.create_dataset(
                name,
                shape=(0, *tail),
                maxshape=(None, *tail),
                dtype=TYPES[name],
                chunks=(rows, *tail),
                **(packed if name == "showers" else {"fletcher32": True}),
            )
            dataset.attrs["units"] = UNITS[name]
            self._columns[name] = dataset

    def _finish(self) -> None:
        assert self._file is not None
        if not self._columns:
            self.append(_no_showers(self.grid))
        rest = self._length % len(self._begun)
        if rest:
            self._begun[rest:] = 0
            self._write_chunk(self._length, deflate(self._begun))
        provenance = json.dumps(self.provenance, allow_nan=False)
        self._reserve(len(provenance))
        self._file.attrs["provenance"] = provenance
        fields = self._columns.keys() - {"showers"}
        self._file.attrs["digest"] = str(self._digest)
        self._file.attrs["digest_header"] = header_digest(self._detector, provenance, fields)
        self._file.flush()
        os.truncate(self._temporary, self._file.id.get_filesize())  # give back what was reserved

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def write(path: str | Path, showers: Showers) -> None:
    """Write showers to a file, or their hits where its name ends in .csv, .parquet or .root; whole or not at all."""
    with open_writer(path, showers.grid, showers.provenance) as writer:
        writer.append(showers)


def _packed_alike(one: h5py.Dataset, other: h5py.Dataset) -> bool:
    ways = [(d.chunks, d.dtype, d.shape[1:], d.compression, d.shuffle) for d in (one, other)]
    return ways[0] == ways[1]


def _no_showers(grid: Grid) -> Showers:
    none = np.zeros(0, np.float32)
    return Showers(np.zeros((0, *grid.shape), np.float32), none, none, grid)
