"""Showers as lists of hits: a folder of flat arrays, written once and read where they are wanted.

The hits of shower i are the items ``offsets[i]`` to ``offsets[i + 1]`` of ``cells`` (index into the
flattened grid) and ``deposits`` (MeV); every column of labels has a file of its own, all of them
little-endian. ``manifest.json`` says what was stored, from where, and the checksum of every file.
"""

from __future__ import annotations

import hashlib
import math
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from operator import sub
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.shower_file import OPTIONAL, ShowerFile
from caloforge.foundations.durable import SEAL, seal, sealed, sha256, write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.texts import read_json
from caloforge.observables.sparse_showers import SparseShowers
from caloforge.showers import Conditions, Showers

__all__ = ["FORMAT", "VERSION", "ShowerStore", "write_store"]

FORMAT = "caloforge-store"
VERSION = 2
MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 24
"""About how many bytes of dense showers are in memory while a store is written."""
BLOCK = 1024
"""Showers per step when a whole store is summed."""


class ShowerStore:
    """Showers as lists of hits, read at random faster than a dense file is read in order.

    Attributes: ``folder``; ``grid``; ``conditions`` of all N showers, with their impact points where
    every source has them; ``threshold_MeV`` below which deposits were dropped; ``checksum``, which
    names the data (same deposits, labels, grid and threshold: same checksum, whatever the files were
    called); ``provenance``.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.grid = Grid.from_json(manifest["grid"])
        self.threshold_MeV = float(manifest["threshold_MeV"])
        self.checksum = str(manifest["checksum"])
        self.provenance: dict[str, Any] = dict(manifest["provenance"])
        self._manifest = manifest
        n, hits = int(manifest["showers"]), int(manifest["hits"])
        files = {
            name: _Flat(folder / name, dtype, shape)
            for name, (dtype, shape) in _columns(self.grid, n, hits).items()
            if name in manifest["files"] or name not in OPTIONAL
        }
        self._cells, self._deposits = files.pop("cells"), files.pop("deposits")
        columns = {name: file.read() for name, file in files.items()}
        self._offsets = columns["offsets"]
        if self._offsets[0] != 0 or self._offsets[-1] != hits or (np.diff(self._offsets) < 0).any():
            raise CaloforgeError(f"{folder / 'offsets'}: expected offsets from 0 up to {hits}, damaged")
        self.conditions = Conditions(**{n: values for n, values in columns.items() if n != "offsets"})

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a store; sizes and manifest are checked, :meth:`verify` checks every byte.

        Raises UsageError if there is none, CaloforgeError naming the file that is damaged.
        """
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise UsageError(f"{folder}: expected a shower store, no {MANIFEST} in it")
        manifest = read_json(path)
        if (manifest.get("format"), manifest.get("version")) != (FORMAT, VERSION):
            raise CaloforgeError(f"{path}: field format: expected {FORMAT!r}, version {VERSION}")
        try:
            if manifest.pop(SEAL, None) != seal(manifest):
                raise CaloforgeError(f"{path}: field {SEAL}: unlike the manifest's content, damaged")
            return cls(folder, manifest)
        except (KeyError, TypeError, ValueError) as error:
            raise CaloforgeError(f"{path}: damaged: {error!r}") from None

    def verify(self) -> None:
        """Read every byte. Raises CaloforgeError naming the file that is not as it was written."""
        for name, expected in self._manifest["files"].items():
            if sha256(self.folder / name) != expected:
                raise CaloforgeError(f"{self.folder / name}: checksum differs: damaged store")

    def __len__(self) -> int:
        return len(self.conditions)

    @property
    def n_bytes(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def dense(
        self,
        index_N: NDArray[np.int64],
        out: NDArray[np.float32] | None = None,
        *,
        moves: Sequence[NDArray[np.intp]] | None = None,
    ) -> NDArray[np.float32]:
        """Unpack showers, in any order and as often as asked, to deposits (B, nx, ny, nz) in MeV.

        ``out`` (contiguous) is filled and returned if given. ``moves[b][cell]`` is the cell in which
        a deposit of the b-th shower is put instead of ``cell``. Raises IndexError for a shower
        that the store does not have.
        """
        shape = (len(index_N), *self.grid.shape)
        if out is None:
            out = np.zeros(shape, np.float32)
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError(f"out: expected contiguous float32 {shape}, got {out.dtype} {out.shape}")
        else:
            out[...] = 0
        rows_BC = out.reshape(len(index_N), self.grid.n_cells)
        starts, stops = self._hits_of(index_N)
        most = max(map(sub, stops, starts), default=0)
        cells_C, deposits_C = (np.empty(most, file.dtype) for file in (self._cells, self._deposits))
        try:
            # One shower at a time stays in the cache: faster than any vectorised gather of a batch.
            for b, (row_C, start, stop) in enumerate(zip(rows_BC, starts, stops, strict=True)):
                read_H, deposits_H = cells_C[: stop - start], deposits_C[: stop - start]
                self._cells.fill(read_H, start)
                self._deposits.fill(deposits_H, start)
                cells = read_H.astype(np.intp)  # numpy is slow to index with less
                row_C[cells if moves is None else moves[b][cells]] = deposits_H
        except IndexError:
            raise CaloforgeError(f"{self.folder / 'cells'}: a cell outside the grid, damaged") from None
        return out

    def showers(self, index_N: NDArray[np.int64]) -> Showers:
        """Unpack showers with their labels."""
        columns = vars(self.conditions[index_N])
        return Showers(self.dense(index_N), grid=self.grid, provenance=self.provenance, **columns)

    def count_hits(self) -> NDArray[np.int64]:
        """Return the number of hits of every shower (N,)."""
        return np.asarray(np.diff(self._offsets), np.int64)

    def sum_MeV(self) -> NDArray[np.float64]:
        """Return the total deposit of every shower (N,) in MeV, from one pass over the hits."""
        sums_N = np.zeros(len(self), np.float64)
        for first in range(0, len(self), BLOCK):
            offsets = self._offsets[first : first + BLOCK + 1]
            counts = np.diff(offsets)
            shower = np.repeat(np.arange(len(counts)), counts)
            deposits = self._deposits.read(int(offsets[0]), int(offsets[-1]))
            sums_N[first : first + BLOCK] = np.bincount(shower, deposits, minlength=len(counts))
        return sums_N

    def _hits_of(self, index_N: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        index_N = np.asarray(index_N)
        if index_N.size and not (index_N.min() >= 0 and index_N.max() < len(self)):
            raise IndexError(f"expected showers 0 to {len(self) - 1}")
        return self._offsets[index_N].tolist(), self._offsets[index_N + 1].tolist()


def write_store(
    folder: Path,
    files: Sequence[Path],
    checksums: Sequence[str],
    threshold_MeV: float,
    progress: Progress = silent,
) -> None:
    """Stream shower files, whose checksums are known, into an empty folder; the manifest comes last.

    Deposits below the threshold are dropped. Memory stays bounded whatever the files' size. Raises
    UsageError for files on different grids, CaloforgeError for a broken file.
    """
    grid, total, optional = _common_form(files)
    grid = replace(grid, threshold_MeV=max(threshold_MeV, grid.threshold_MeV))
    sources: list[dict[str, Any]] = []
    done, hits = 0, 0
    with ExitStack() as stack:
        columns = {
            name: stack.enter_context(closing(_Column(folder / name, dtype)))
            for name, (dtype, _) in _columns(grid, total, 0).items()
            if name not in OPTIONAL or name in optional
        }
        columns["offsets"].append(np.zeros(1))
        for path, checksum in zip(files, checksums, strict=True):
            with ShowerFile(path) as file:
                for showers in file.chunks(max(1, CHUNK_BYTES // (4 * grid.n_cells))):
                    sparse = SparseShowers.of(showers.above(threshold_MeV).deposits)
                    columns["cells"].append(sparse.cells)
                    columns["deposits"].append(sparse.deposits)
                    columns["offsets"].append(hits + sparse.offsets[1:])
                    # A missing azimuth or particle is the usual one, a missing impact point is unknown.
                    given = showers.conditions
                    filled = replace(given, incident_phi=given.phi, pdg_id=given.particle).columns()
                    for name in columns.keys() & filled.keys():
                        columns[name].append(filled[name])
                    hits, done = hits + len(sparse.cells), done + len(showers)
                    progress(done, total)
                origin = {"file": path.name, "sha256": checksum, "showers": len(file)}
                sources.append(origin | {"provenance": file.provenance})
        sums = {name: column.finish() for name, column in columns.items()}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "showers": done,
        "hits": hits,
        "threshold_MeV": float(threshold_MeV),
        "grid": grid.to_json(),
        "provenance": {"program": "caloforge", "sources": sources},
        "files": sums,
    }
    manifest["checksum"] = _checksum(manifest)
    write_json(folder / MANIFEST, sealed(manifest))


def _common_form(files: Sequence[Path]) -> tuple[Grid, int, list[str]]:
    """Return the grid, the number of showers, and the optional labels that one file has, or all must."""
    told, total = list[dict[str, Any]](), 0
    grid: Grid | None = None
    for path in files:
        with ShowerFile(path) as file:
            grid = file.grid if grid is None else grid
            if _cells(file.grid) != _cells(grid):
                raise UsageError(
                    f"{path}: expected the cells of {files[0]}, {_cells(grid)}, found {_cells(file.grid)}"
                )
            total += len(file)
            told.append(file.conditions.columns())
    assert grid is not None
    enough = {name: all if name == "impact_xy" else any for name in OPTIONAL}
    return grid, total, [name for name in OPTIONAL if enough[name](name in it for it in told)]


def _cells(grid: Grid) -> str:
    size = "unknown size" if grid.cell_size is None else "{:g} x {:g}".format(*grid.cell_size)
    shape = " x ".join(f"{n} {axis}" for n, axis in zip(grid.shape, grid.axes, strict=True))
    return f"{shape} of {size}"


def _columns(grid: Grid, n: int, hits: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return the type and shape of every file of a store, by name."""
    return {
        "cells": (np.dtype("<u2" if grid.n_cells <= 1 << 16 else "<u4"), (hits,)),
        "deposits": (np.dtype("<f4"), (hits,)),
        "offsets": (np.dtype("<i8"), (n + 1,)),
        "incident_energy": (np.dtype("<f4"), (n,)),
        "incident_theta": (np.dtype("<f4"), (n,)),
        "incident_phi": (np.dtype("<f4"), (n,)),
        "impact_xy": (np.dtype("<f4"), (n, 2)),
        "pdg_id": (np.dtype("<i4"), (n,)),
    }


class _Flat:
    """A flat file that is read where it is wanted. Mapped, one that is cut short would end this process by a signal."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        expected = math.prod(shape) * dtype.itemsize
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            have = "is missing" if found is None else f"has {found}"
            raise CaloforgeError(f"{path}: expected {expected} bytes, the file {have}: damaged store")
        self._path, self.dtype, self._shape = path, dtype, shape
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read rows. Raises CaloforgeError as :meth:`fill` does."""
        stop = self._shape[0] if stop is None else stop
        rows = np.empty((stop - start, *self._shape[1:]), self.dtype)
        self.fill(rows, start)
        return rows

    def fill(self, rows: NDArray[Any], start: int) -> None:
        """Fill an array of this type from row ``start`` on. Raises CaloforgeError where the file no longer has them."""
        place = start * self.dtype.itemsize * math.prod(self._shape[1:])
        if rows.nbytes and os.preadv(self._descriptor, [rows.data], place) < rows.nbytes:
            raise CaloforgeError(f"{self._path}: somebody cut it short while it was read: damaged store")


class _Column:
    """A flat file that is written piece by piece, and its checksum."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("xb")
        self._dtype = dtype
        self._digest = hashlib.sha256()

    def append(self, values: NDArray[Any]) -> None:
        data = values.astype(self._dtype).tobytes()
        self._file.write(data)
        self._digest.update(data)

    def finish(self) -> str:
        """Bring the file to the disk and return its checksum."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()


def _checksum(manifest: Mapping[str, Any]) -> str:
    """Name the data itself: what the arrays hold, and how it is to be read."""
    content = {key: manifest[key] for key in ("showers", "hits", "threshold_MeV", "grid", "files")}
    return seal(content)
