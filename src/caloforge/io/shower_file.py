"""Shower files, version 1: HDF5 read as a stream and checked, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.errors import CaloforgeError, UsageError
from caloforge.io.durable import atomic_path, check_output_path
from caloforge.showers import Conditions, Showers

__all__ = ["FORMAT", "VERSION", "ShowerFile", "ShowerWriter", "open_hdf5", "read", "write"]

FORMAT = "caloforge-showers"
VERSION = 1
UNITS = {
    "showers": "MeV",
    "incident_energy": "MeV",
    "incident_theta": "rad",
    "impact_xy": "mm",
    "pdg_id": "1",
}
OPTIONAL = ("impact_xy", "pdg_id")
CHUNK_BYTES = 1 << 20
MAX_INCIDENT_MEV = 1e9
"""A primary above 1,000 TeV is taken for a mistake in units."""


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading. Raises UsageError if absent, CaloforgeError if not HDF5."""
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    if not path.is_file():
        raise UsageError(f"{path}: expected an HDF5 file, this is a folder")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        reason = "truncated" if "truncated" in str(error) else "not an HDF5 file, or damaged"
        raise CaloforgeError(f"{path}: {reason}") from None


def local_dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """Get a dataset whose data lies in this very file. Raises CaloforgeError otherwise.

    External links, external storage and virtual datasets could read any file of the reader's.
    """
    link = file.get(name, getlink=True)
    if link is None:
        raise CaloforgeError(f"{path}: field {name} is missing")
    if not isinstance(link, h5py.HardLink):
        raise CaloforgeError(f"{path}: field {name} is a link to elsewhere, expected data in the file")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise CaloforgeError(f"{path}: field {name}: expected a dataset, found a group")
    if dataset.is_virtual or dataset.external:
        raise CaloforgeError(f"{path}: field {name} is stored elsewhere, expected data in the file")
    return dataset


def numeric_dataset(
    file: h5py.File, path: Path, name: str, shape: tuple[int | None, ...]
) -> h5py.Dataset:
    """Get a dataset of numbers with this shape (None: any length). Raises CaloforgeError."""
    dataset = local_dataset(file, path, name)
    if dataset.dtype.kind not in "fiu":
        raise CaloforgeError(f"{path}: field {name}: expected numbers, found type {dataset.dtype}")
    found = dataset.shape
    if len(found) != len(shape) or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
        wanted = ", ".join("N" if n is None else str(n) for n in shape)
        raise CaloforgeError(f"{path}: field {name}: expected shape ({wanted}), found {found}")
    return dataset


def read_dataset(dataset: h5py.Dataset, path: Path, rows: slice) -> NDArray[Any]:
    """Read rows of a dataset. Raises CaloforgeError where the bytes cannot be read."""
    try:
        return np.asarray(dataset[rows])
    except (OSError, RuntimeError) as error:
        name = str(dataset.name).lstrip("/")
        raise CaloforgeError(f"{path}: field {name}: cannot be read, the file is damaged") from error


def check_deposits(deposits: NDArray[np.float32], path: Path, first: int) -> None:
    """Raise CaloforgeError at the first deposit that is negative or not finite."""
    # One pass decides: a NaN fails both comparisons, and the infinities one of them.
    good = (deposits >= 0) & (deposits < np.inf)
    if not good.all():
        shower, *cell = (int(i) for i in np.argwhere(~good)[0])
        raise CaloforgeError(
            f"{path}: field showers: expected finite deposits >= 0 MeV, shower {first + shower}, "
            f"cell {tuple(cell)} holds {deposits[(shower, *cell)]}"
        )


class ShowerFile:
    """A shower file open for reading; deposits are read and checked chunk by chunk.

    Attributes: ``path``, ``grid``, ``provenance``, ``conditions`` (checked on opening), and
    ``impact_xy``, ``pdg_id`` where the file has them. Raises UsageError or CaloforgeError with the
    file, the field and what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = open_hdf5(self.path)
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        file, path = self._file, self.path
        kind, version = file.attrs.get("format"), file.attrs.get("version")
        if isinstance(kind, bytes):
            kind = kind.decode(errors="replace")
        if kind != FORMAT:
            raise CaloforgeError(
                f"{path}: attribute format: expected {FORMAT!r}, found {kind!r} "
                "(`caloforge convert` reads public layouts)"
            )
        if not np.isscalar(version) or version != VERSION:
            raise CaloforgeError(f"{path}: attribute version: expected {VERSION}, found {version!r}")
        self._deposits = numeric_dataset(file, path, "showers", (None, None, None, None))
        n, *shape = self._deposits.shape
        try:
            self.grid = Grid.from_json(self._json_attribute("detector"), shape=tuple(shape))
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: {error}") from None
        provenance = self._json_attribute("provenance")
        self.provenance: dict[str, Any] = provenance if isinstance(provenance, dict) else {}
        energy = self._column("incident_energy", (n,), np.float32)
        theta = self._column("incident_theta", (n,), np.float32)
        self._check_range("incident_energy", energy, 0, MAX_INCIDENT_MEV, "0 < E <= 1e9 MeV")
        self._check_range("incident_theta", theta, 0, math.pi, "0 < theta < pi rad")
        self.conditions = Conditions(energy, theta)
        self.impact_xy: NDArray[np.float32] | None = None
        self.pdg_id: NDArray[np.int32] | None = None
        if "impact_xy" in file:
            self.impact_xy = self._column("impact_xy", (n, 2), np.float32)
        if "pdg_id" in file:
            self.pdg_id = self._column("pdg_id", (n,), np.int32)

    def _json_attribute(self, name: str) -> object:
        text = self._file.attrs.get(name)
        if text is None:
            raise CaloforgeError(f"{self.path}: attribute {name} is missing")
        try:
            return json.loads(text)
        except (TypeError, ValueError):
            raise CaloforgeError(f"{self.path}: attribute {name}: expected JSON") from None

    def _column(self, name: str, shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any]:
        dataset = numeric_dataset(self._file, self.path, name, shape)
        self._check_units(name, dataset)
        values = read_dataset(dataset, self.path, slice(None)).astype(dtype)
        if not np.isfinite(values).all():
            raise CaloforgeError(f"{self.path}: field {name}: expected finite numbers")
        return values

    def _check_units(self, name: str, dataset: h5py.Dataset) -> None:
        units = dataset.attrs.get("units", UNITS[name])
        if isinstance(units, bytes):
            units = units.decode(errors="replace")
        if units != UNITS[name]:
            raise CaloforgeError(
                f"{self.path}: field {name}, attribute units: expected {UNITS[name]!r}, found {units!r}"
            )

    def _check_range(
        self, name: str, values: NDArray[np.float32], low: float, high: float, expected: str
    ) -> None:
        bad = ~((values > low) & (values <= high))
        if bad.any():
            where = int(np.argmax(bad))
            raise CaloforgeError(
                f"{self.path}: field {name}: expected {expected}, shower {where} has {values[where]}"
            )

    def __len__(self) -> int:
        return int(self._deposits.shape[0])

    @property
    def chunk_length(self) -> int:
        """Showers per stored chunk: reading multiples of it decompresses nothing twice."""
        chunks = self._deposits.chunks
        return int(chunks[0]) if chunks else max(1, CHUNK_BYTES // (4 * self.grid.n_cells))

    def read(self, start: int = 0, stop: int | None = None) -> Showers:
        """Read showers ``start`` to ``stop`` and check every deposit."""
        rows = slice(start, len(self) if stop is None else min(stop, len(self)))
        n_bytes = (rows.stop - rows.start) * 4 * self.grid.n_cells
        if n_bytes > _memory_bytes():
            raise CaloforgeError(
                f"{self.path}: {rows.stop - rows.start} showers need {n_bytes / 2**30:.0f} GiB of memory"
            )
        deposits = read_dataset(self._deposits, self.path, rows).astype(np.float32, copy=False)
        check_deposits(deposits, self.path, rows.start)
        conditions = self.conditions[rows]
        return Showers(
            deposits=deposits,
            incident_energy=conditions.incident_energy,
            incident_theta=conditions.incident_theta,
            grid=self.grid,
            impact_xy=None if self.impact_xy is None else self.impact_xy[rows],
            pdg_id=None if self.pdg_id is None else self.pdg_id[rows],
            provenance=self.provenance,
        )

    def chunks(self, length: int = 256) -> Iterator[Showers]:
        """Stream the file in order, about ``length`` showers at a time."""
        step = max(1, length // self.chunk_length) * self.chunk_length
        for start in range(0, len(self), step):
            yield self.read(start, start + step)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ShowerWriter:
    """Writes a shower file piece by piece; it appears under its name only when complete.

    Use as a context manager and call :meth:`append`. Columns that the first piece lacks
    (``impact_xy``, ``pdg_id``) stay out of the file.
    """

    def __init__(
        self, path: str | Path, grid: Grid, provenance: Mapping[str, Any], *, compression: int = 4
    ) -> None:
        self.path = Path(path)
        self.grid = grid
        self.provenance = dict(provenance)
        self._compression = compression
        self._stack = ExitStack()
        self._file: h5py.File | None = None
        self._length = 0

    def __enter__(self) -> Self:
        check_output_path(self.path)
        temporary = self._stack.enter_context(atomic_path(self.path))
        self._file = self._stack.enter_context(h5py.File(temporary, "w"))
        self._file.attrs["format"] = FORMAT
        self._file.attrs["version"] = VERSION
        self._file.attrs["detector"] = json.dumps(self.grid.to_json())
        return self

    def append(self, showers: Showers) -> None:
        """Add showers at the end. Raises CaloforgeError if they lie on another grid."""
        if self._file is None:
            raise RuntimeError("ShowerWriter is used outside its with block")
        if not self.grid.same_cells(showers.grid):
            raise CaloforgeError(
                f"{self.path}: expected showers of shape {self.grid.shape}, got {showers.grid.shape}"
            )
        columns = {name: getattr(showers, name) for name in UNITS if name != "showers"}
        columns = {"showers": showers.deposits} | columns
        present = {name: values for name, values in columns.items() if values is not None}
        if "showers" not in self._file:
            self._create(present)
        start, self._length = self._length, self._length + len(showers)
        for name, dataset in self._file.items():
            if name not in present:
                raise CaloforgeError(f"{self.path}: field {name} is missing in later showers")
            dataset.resize(self._length, axis=0)
            dataset[start:] = present[name]

    def _create(self, columns: Mapping[str, NDArray[Any]]) -> None:
        assert self._file is not None
        for name, values in columns.items():
            tail = values.shape[1:]
            rows = max(1, CHUNK_BYTES // (4 * max(1, math.prod(tail)))) if name == "showers" else 4096
            packed = {"compression": "gzip", "compression_opts": self._compression, "shuffle": True}
            dataset = self._file.create_dataset(
                name,
                shape=(0, *tail),
                maxshape=(None, *tail),
                dtype=np.int32 if name == "pdg_id" else np.float32,
                chunks=(rows, *tail),
                **(packed if name == "showers" and self._compression else {}),
            )
            dataset.attrs["units"] = UNITS[name]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._file is not None:
            if "showers" not in self._file:
                self.append(_no_showers(self.grid))
            self._file.attrs["provenance"] = json.dumps(self.provenance)
        self._stack.__exit__(kind, error, trace)


def read(path: str | Path) -> Showers:
    """Read a whole shower file into memory; :class:`ShowerFile` streams larger ones."""
    with ShowerFile(path) as file:
        return file.read()


def write(path: str | Path, showers: Showers) -> None:
    """Write showers to a file, whole or not at all."""
    with ShowerWriter(path, showers.grid, showers.provenance) as writer:
        writer.append(showers)


def _no_showers(grid: Grid) -> Showers:
    none = np.zeros(0, np.float32)
    return Showers(np.zeros((0, *grid.shape), np.float32), none, none, grid)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
