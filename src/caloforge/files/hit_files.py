"""Hits for analysis instead of showers for training: CSV, Parquet and ROOT files, written whole or not at all."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.packing import PackedShowers
from caloforge.files.shower_file import UNITS, ShowerFile, check_deposits
from caloforge.foundations.durable import atomic_path, check_output_path
from caloforge.foundations.errors import CaloforgeError
from caloforge.showers import Showers
from caloforge.showers.hits import HIT_UNITS, condition_columns, hit_columns

__all__ = ["HIT_FILES", "CsvWriter", "HitWriter", "hit_writer", "units_of"]

HIT_FILES = {
    ".csv": "caloforge.files.hit_files:CsvWriter",
    ".parquet": "caloforge.files.parquet:ParquetWriter",
    ".root": "caloforge.files.root:RootWriter",
}
"""Who writes the hits in a file with this ending; a library is loaded when somebody asks for it."""


class HitWriter(ABC):
    """Writes the hits of showers piece by piece, as :class:`~caloforge.files.shower_writer.ShowerWriter` does showers.

    The file appears under its name only when complete. ``provenance`` may be filled until the end.
    """

    def __init__(self, path: str | Path, grid: Grid, provenance: Mapping[str, Any]) -> None:
        self.path, self.grid, self.provenance = Path(path), grid, dict(provenance)
        self._stack, self._length, self._begun = ExitStack(), 0, False

    def __enter__(self) -> Self:
        check_output_path(self.path)
        with ExitStack() as stack:
            self._open(stack, stack.enter_context(atomic_path(self.path)))
            stack.push(lambda kind, *_: None if kind else self._finish())
            self._stack = stack.pop_all()
        return self

    @abstractmethod
    def _open(self, stack: ExitStack, temporary: Path) -> None:
        """Open the file; what is put on the stack is closed after :meth:`_finish`."""

    @abstractmethod
    def _write(self, showers: Showers) -> None:
        """Write further showers; the first ones may be none."""

    def _finish(self) -> None:
        """Write what belongs at the end."""
        if not self._begun:
            none = np.zeros(0, np.float32)
            self._write(Showers(np.zeros((0, *self.grid.shape), np.float32), none, none, self.grid))

    @staticmethod
    def told(path: Path) -> str | None:  # noqa: ARG004 (CSV holds none)
        """Return the provenance, JSON, that a file of this kind holds. Raises CaloforgeError where it cannot be read."""
        return None

    def pack(self, showers: Showers, first: int) -> PackedShowers:
        """Check showers. Raises CaloforgeError if they lie on another grid or hold an impossible deposit."""
        if not self.grid.same_cells(showers.grid):
            raise CaloforgeError(
                f"{self.path}: expected showers of shape {self.grid.shape}, got {showers.grid.shape}"
            )
        check_deposits(showers.deposits, self.path, first)
        return PackedShowers(showers, first, {}, ())

    def append(self, showers: Showers | PackedShowers) -> None:
        """Add the hits of further showers."""
        packed = self.pack(showers, self._length) if isinstance(showers, Showers) else showers
        self._write(packed.showers)
        self._length += len(packed.showers)
        self._begun = True

    def join(self, part: ShowerFile) -> None:
        """Add the hits of all showers of a file."""
        for showers in part.chunks():
            self.append(showers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


class CsvWriter(HitWriter):
    """One row a hit: the shower's number, the hit, and the shower's conditions again in each row.

    A shower without a hit has no row.
    """

    _file: TextIOWrapper

    def _open(self, stack: ExitStack, temporary: Path) -> None:
        self._file = stack.enter_context(temporary.open("w", encoding="ascii"))

    def _write(self, showers: Showers) -> None:
        counts, hits = hit_columns(showers)
        conditions = condition_columns(showers)
        energy = hits.pop("energy")
        if not self._begun:
            self._file.write(",".join(["shower", *hits, "energy", *conditions]) + "\n")
        # What stands in many rows becomes text once. A float32 gets as many digits as tell it from its neighbours.
        cell = np.flatnonzero(showers.deposits) % self.grid.n_cells
        _, first, place = np.unique(cell, return_index=True, return_inverse=True)
        cells = [",".join(row) for row in _texts(*(values[first] for values in hits.values()))]
        given = [",".join(row) for row in _texts(*conditions.values())]
        shower = np.repeat(np.arange(len(showers)), counts).tolist()
        self._file.writelines(
            f"{self._length + n},{cells[c]},{e},{given[n]}\n"
            for n, c, e in zip(shower, place.tolist(), energy.astype(str), strict=True)
        )


def _texts(*columns: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    """Return the rows of columns as text."""
    return zip(*(values.astype(str) for values in columns), strict=True)


def units_of(names: Mapping[str, Any]) -> dict[str, str]:
    """Return the units of columns by their names; a cell's number has none."""
    known = {**UNITS, **HIT_UNITS, "impact_x": "mm", "impact_y": "mm"}
    return {name: known.get(name.removeprefix("hits_"), "1") for name in names}


def hit_writer(suffix: str) -> type[HitWriter] | None:
    """Return who writes hits in files with this ending; None where there is nobody. Raises MissingExtraError."""
    if suffix not in HIT_FILES:
        return None
    module, _, name = HIT_FILES[suffix].partition(":")
    writer: type[HitWriter] = getattr(importlib.import_module(module), name)
    return writer
