"""Shower files, version 1: HDF5 read as a stream and checked, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.digest import ContentDigest, header_digest, is_digest, row_crcs
from caloforge.files.hdf5 import (
    attribute,
    field_names,
    numeric_dataset,
    open_hdf5,
    read_rows,
    rows_per_read,
    text_attribute,
)
from caloforge.files.packing import LEVEL, PackedShowers, deflate, pieces
from caloforge.foundations.durable import atomic_path, check_output_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import parse_json
from caloforge.showers import MAX_INCIDENT_MEV, Conditions, Showers

__all__ = [
    "FORMAT",
    "VERSION",
    "ShowerFile",
    "ShowerWriter",
    "check_deposits",
    "check_shower_path",
    "read",
    "write",
]

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
TYPES = {name: np.dtype("<i4" if name == "pdg_id" else "<f4") for name in UNITS}
CHUNK_BYTES = 1 << 20
OTHER_KINDS = (
    ".root", ".parquet", ".feather", ".arrow", ".csv", ".tsv", ".txt", ".json", ".yaml",
    ".yml", ".xml", ".npy", ".npz", ".pkl", ".pickle", ".pt", ".onnx", ".safetensors",
    ".slcio", ".hepmc", ".zip", ".tar", ".gz", ".zst", ".png", ".pdf", ".html", ".md",
)  # fmt: skip
"""Names that promise something else than HDF5."""

MAX_SHOWERS = 10**8
"""A file that declares more is taken for broken: its columns alone would need gigabytes."""


def check_deposits(deposits: NDArray[np.float32], path: Path, first: int, name: str = "showers") -> None:
    """Raise CaloforgeError at the first deposit that is negative, not finite, or more than any particle has."""
    # A NaN fails both comparisons, and all others that are wrong one of them.
    if deposits.size and not (deposits.min() >= 0 and deposits.max() <= MAX_INCIDENT_MEV):
        good = (deposits >= 0) & (deposits <= MAX_INCIDENT_MEV)
        shower, *cell = (int(i) for i in np.argwhere(~good)[0])
        found = deposits[(shower, *cell)]
        limit = f" and <= {MAX_INCIDENT_MEV:g} MeV" if np.isfinite(found) and found > 0 else ""
        raise CaloforgeError(
            f"{path}: field {name}: expected finite deposits >= 0{limit}, shower {first + shower}, "
            f"cell {tuple(cell)} holds {found}"
        )


def check_shower_path(path: Path, *inputs: Path) -> None:
    """Say early that showers cannot be written at ``path``, whose name may promise another kind of file.

    Raises UsageError, as :func:`~caloforge.foundations.durable.check_output_path` does.
    """
    check_output_path(path, *inputs)
    if path.suffix.lower() in OTHER_KINDS:
        raise UsageError(
            f"{path}: showers are written as HDF5 alone so far; expected a name such as {path.stem}.h5"
        )


class ShowerFile:
    """A shower file open for reading; deposits are read and checked chunk by chunk.

    Attributes: ``path``, ``grid``, ``provenance``, ``conditions`` (checked on opening), ``impact_xy``,
    ``pdg_id`` where the file has them, ``deposits``, the dataset itself, unchecked, and ``digest``, which
    whoever reads all of the file compares with what was read; None where the file has none. Raises
    UsageError or CaloforgeError with the file, the field and what was expected.
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
        kind = text_attribute(file, path, "format")
        if kind != FORMAT:
            raise CaloforgeError(
                f"{path}: attribute format: expected {FORMAT!r}, found {kind and kind[:60]!r} "
                "(`caloforge convert` reads public layouts)"
            )
        self._check_version()
        self.deposits = numeric_dataset(file, path, "showers", (None, None, None, None))
        self._check_units("showers", self.deposits)
        n, *shape = self.deposits.shape
        if n > MAX_SHOWERS:
            self._refuse(f"field showers: expected at most {MAX_SHOWERS} showers, found {n}")
        try:
            self.grid = Grid.from_json(self._json_attribute("detector"), shape=tuple(shape))
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: {error}") from None
        provenance = self._json_attribute("provenance")
        self.provenance: dict[str, Any] = provenance if isinstance(provenance, dict) else {}
        energy_N, theta_N = (
            self._column(f"incident_{x}", (n,), np.float32) for x in ("energy", "theta")
        )
        try:
            self.conditions = Conditions(energy_N, theta_N)
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: {error}") from None
        self.impact_xy: NDArray[np.float32] | None = None
        self.pdg_id: NDArray[np.int32] | None = None
        present = field_names(file, path)
        if "impact_xy" in present:
            self.impact_xy = self._column("impact_xy", (n, 2), np.float32)
            if not np.isfinite(self.impact_xy).all():
                self._refuse("field impact_xy: expected finite numbers")
        if "pdg_id" in present:
            self.pdg_id = self._column("pdg_id", (n,), np.int32)
        self.digest = text_attribute(file, path, "digest")
        header = text_attribute(file, path, "digest_header")
        if self.digest is not None and not is_digest(self.digest):
            self._refuse("attribute digest: expected 16 hexadecimal digits")
        detector, source = (text_attribute(file, path, x) or "" for x in ("detector", "provenance"))
        if header not in (None, header_digest(detector, source, _columns(self))):
            self._refuse(
                "attribute digest_header: detector, provenance or the list of fields are not as they were written"
            )

    def _check_content(self, digest: ContentDigest) -> None:
        if self.digest is not None and str(digest) != self.digest:
            self._refuse(
                "attribute digest: the showers are not as they were written, the file is damaged"
            )

    def _refuse(self, problem: str) -> NoReturn:
        raise CaloforgeError(f"{self.path}: {problem}")

    def _check_version(self) -> None:
        version = attribute(self._file, self.path, "version")
        if not isinstance(version, int | np.integer) or version != VERSION:
            self._refuse(f"attribute version: expected {VERSION}, found {str(version)[:60]!r}")

    def _json_attribute(self, name: str) -> object:
        text = text_attribute(self._file, self.path, name)
        if text is None:
            self._refuse(f"attribute {name} is missing")
        try:
            return parse_json(text)
        except ValueError as error:
            self._refuse(f"attribute {name}: expected JSON: {error}")

    def _column(self, name: str, shape: tuple[int, ...], dtype: type[Any]) -> NDArray[Any]:
        kinds = "iu" if np.issubdtype(dtype, np.integer) else "fiu"
        dataset = numeric_dataset(self._file, self.path, name, shape, kinds)
        self._check_units(name, dataset)
        return read_rows(dataset, self.path, slice(None), dtype)

    def _check_units(self, name: str, dataset: h5py.Dataset) -> None:
        units = text_attribute(dataset, self.path, "units")
        if units != UNITS[name]:
            found = "none" if units is None else repr(units[:60])
            self._refuse(f"field {name}, attribute units: expected {UNITS[name]!r}, found {found}")

    def __len__(self) -> int:
        return int(self.deposits.shape[0])

    def read(self, start: int = 0, stop: int | None = None) -> Showers:
        """Read showers ``start`` to ``stop``, counted as a slice counts, and check every deposit."""
        rows = slice(*slice(start, stop).indices(len(self)))
        digest = ContentDigest()
        showers = self._read(rows, digest)
        if len(showers) == len(self):
            self._check_content(digest)
        return showers

    def _read(self, rows: slice, digest: ContentDigest) -> Showers:
        deposits = read_rows(self.deposits, self.path, rows, np.float32)
        check_deposits(deposits, self.path, rows.start)
        conditions = self.conditions[rows]
        showers = Showers(
            deposits=deposits,
            incident_energy=conditions.incident_energy,
            incident_theta=conditions.incident_theta,
            grid=self.grid,
            impact_xy=None if self.impact_xy is None else self.impact_xy[rows],
            pdg_id=None if self.pdg_id is None else self.pdg_id[rows],
            provenance=self.provenance,
        )
        if self.digest is not None:
            crcs = row_crcs(deposits)
            for values in _columns(showers).values():
                crcs = row_crcs(values, crcs)
            digest.add(crcs)
        return showers

    def chunks(self, length: int = 256) -> Iterator[Showers]:
        """Stream the file in order, about ``length`` showers at a time; the digest is compared before the last."""
        step, digest = rows_per_read(self.deposits, length), ContentDigest()
        for start in range(0, len(self), step):
            showers = self._read(slice(start, min(start + step, len(self))), digest)
            if start + step >= len(self):
                self._check_content(digest)
            yield showers

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
    (``impact_xy``, ``pdg_id``) stay out of the file. ``provenance`` may be filled until the end.
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
        """Take space on the disk ahead of the HDF5 library, which crashes the process if a write fails.

        Besides ``n_bytes`` there is room for what the library has not written yet: its cache for each
        column, which is one CHUNK_BYTES, and its own records.
        """
        size = 0 if self._file is None else self._file.id.get_filesize()
        with self._temporary.open("r+b") as file:
            os.posix_fallocate(file.fileno(), size, n_bytes + 8 * CHUNK_BYTES)

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
        columns, crcs = _columns(packed.showers), packed.crcs
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
        if part.digest is None or (fields and fields != _columns(part).keys()):
            raise CaloforgeError(f"{part.path}: expected the fields of {self.path}, and a digest")
        rows = len(self._begun)
        mine, theirs = self._columns.get("showers"), part.deposits
        whole, start, digest = 0, self._length, replace(self._digest)
        if mine is not None and _packed_alike(mine, theirs) and start % rows == 0:
            whole = len(part) // rows * rows
        if whole:
            self._lengthen(_columns(part, slice(whole)))
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


def read(path: str | Path) -> Showers:
    """Read a whole shower file into memory; :class:`ShowerFile` streams larger ones."""
    with ShowerFile(path) as file:
        return file.read()


def write(path: str | Path, showers: Showers) -> None:
    """Write showers to a file, whole or not at all."""
    check_shower_path(Path(path))
    with ShowerWriter(path, showers.grid, showers.provenance) as writer:
        writer.append(showers)


def _columns(showers: Showers | ShowerFile, rows: slice = slice(None)) -> dict[str, NDArray[Any]]:
    """Return the columns beside the deposits that there are, by the name of the field, as a file holds them."""
    conditions = showers.conditions
    columns = {
        "incident_energy": conditions.incident_energy,
        "incident_theta": conditions.incident_theta,
        "impact_xy": showers.impact_xy,
        "pdg_id": showers.pdg_id,
    }
    return {
        name: values[rows].astype(TYPES[name], copy=False)
        for name, values in columns.items()
        if values is not None
    }


def _packed_alike(one: h5py.Dataset, other: h5py.Dataset) -> bool:
    ways = [(d.chunks, d.dtype, d.shape[1:], d.compression, d.shuffle) for d in (one, other)]
    return ways[0] == ways[1]


def _no_showers(grid: Grid) -> Showers:
    none = np.zeros(0, np.float32)
    return Showers(np.zeros((0, *grid.shape), np.float32), none, none, grid)
