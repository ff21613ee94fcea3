"""Shower files, version 1: HDF5 read as a stream and checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
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
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.texts import parse_json
from caloforge.showers import MAX_INCIDENT_MEV, Conditions, Showers

__all__ = [
    "FORMAT",
    "UNITS",
    "VERSION",
    "ShowerFile",
    "check_deposits",
    "columns_of",
    "read",
]

FORMAT = "caloforge-showers"
VERSION = 1
UNITS = {
    "showers": "MeV",
    "incident_energy": "MeV",
    "incident_theta": "rad",
    "incident_phi": "rad",
    "impact_xy": "mm",
    "pdg_id": "1",
}
OPTIONAL = ("incident_phi", "impact_xy", "pdg_id")
TYPES = {name: np.dtype("<i4" if name == "pdg_id" else "<f4") for name in UNITS}
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


class ShowerFile:
    """A shower file open for reading; deposits are read and checked chunk by chunk.

    Attributes: ``path``, ``grid``, ``provenance``, ``conditions`` (checked on opening), ``deposits``, the
    dataset itself, unchecked, and ``digest``, which
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
        present = field_names(file, path)
        columns = {
            name: self._column(name, (n, 2) if name == "impact_xy" else (n,))
            for name in UNITS
            if name != "showers" and (name in present or name not in OPTIONAL)
        }
        try:
            self.conditions = Conditions(**columns)
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: {error}") from None
        self.digest = text_attribute(file, path, "digest")
        header = text_attribute(file, path, "digest_header")
        if self.digest is not None and not is_digest(self.digest):
            self._refuse("attribute digest: expected 16 hexadecimal digits")
        detector, source = (text_attribute(file, path, x) or "" for x in ("detector", "provenance"))
        if header not in (None, header_digest(detector, source, columns_of(self))):
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

    def _column(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype = np.int32 if TYPES[name].kind == "i" else np.float32
        kinds = "iu" if TYPES[name].kind == "i" else "fiu"
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
        columns = vars(self.conditions[rows])
        showers = Showers(deposits=deposits, grid=self.grid, provenance=self.provenance, **columns)
        if self.digest is not None:
            crcs = row_crcs(deposits)
            for values in columns_of(showers).values():
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


def read(path: str | Path) -> Showers:
    """Read a whole shower file into memory; :class:`ShowerFile` streams larger ones."""
    with ShowerFile(path) as file:
        return file.read()


def columns_of(showers: Showers | ShowerFile, rows: slice = slice(None)) -> dict[str, NDArray[Any]]:
    """Return the columns beside the deposits that there are, by the name of the field, as a file holds them."""
    columns = showers.conditions.columns()
    return {name: values[rows].astype(TYPES[name], copy=False) for name, values in columns.items()}
