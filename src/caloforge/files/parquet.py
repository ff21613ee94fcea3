"""Hits in Parquet files. The only module that imports pyarrow."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from caloforge.files.hit_files import HitWriter, units_of
from caloforge.foundations.errors import CaloforgeError, MissingExtraError
from caloforge.showers import Showers
from caloforge.showers.hits import condition_columns, hit_columns

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise MissingExtraError("a Parquet file", "files") from None

__all__ = ["ParquetWriter"]


class ParquetWriter(HitWriter):
    """One row a shower: conditions, and each column of its hits as a list.

    The schema's metadata hold ``detector`` and ``provenance`` as a shower file does, and each column's its ``units``.
    """

    _file: pq.ParquetWriter | None = None

    def _open(self, stack: ExitStack, temporary: Path) -> None:
        self._temporary, self._closing = temporary, stack.enter_context(ExitStack())

    def _write(self, showers: Showers) -> None:
        counts, hits = hit_columns(showers)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        columns = {name: pa.array(values) for name, values in condition_columns(showers).items()}
        columns |= {
            f"hits_{name}": pa.ListArray.from_arrays(offsets, pa.array(values))
            for name, values in hits.items()
        }
        units = units_of(columns)
        schema = pa.schema(
            [
                pa.field(name, values.type, metadata={"units": units[name]})
                for name, values in columns.items()
            ]
        )
        if self._file is None:
            self._file = self._closing.enter_context(pq.ParquetWriter(self._temporary, schema))
        self._file.write_table(pa.table(list(columns.values()), schema=schema))

    @staticmethod
    def told(path: Path) -> str | None:
        """Return the provenance, JSON. Raises CaloforgeError where it cannot be read."""
        try:
            return str((pq.read_metadata(path).metadata or {}).get(b"provenance", b"").decode())
        except (OSError, ValueError) as error:  # what pyarrow raises is one of these
            raise CaloforgeError(f"{path}: cannot be read: {error}") from None

    def _finish(self) -> None:
        super()._finish()
        assert self._file is not None
        texts = {"detector": self.grid.to_json(), "provenance": self.provenance}
        self._file.add_key_value_metadata(
            {name: json.dumps(value, allow_nan=False) for name, value in texts.items()}
        )
        self._closing.close()
