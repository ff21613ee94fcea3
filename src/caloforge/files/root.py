"""ROOT files: hits for analysis, histograms, and what others wrote. The only module that imports uproot."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.files.hit_files import HitWriter
from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.foundations.texts import require_file
from caloforge.showers import Showers
from caloforge.showers.hits import awkward_hits

try:
    import uproot
except ImportError:
    raise MissingExtraError("a ROOT file", "files") from None

__all__ = ["EventFile", "RootWriter", "new_root_file", "read_columns", "read_histogram"]

TREE = "showers"

TREES = ("TTree", "ROOT::RNTuple")
"""Classes of what has entries: the old one and the new one."""

DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, OSError, RuntimeError, TypeError,
    ValueError, struct.error, uproot.DeserializationError, zlib.error,
)  # fmt: skip
"""What uproot raises of bytes that are not as they should be."""

PARAMETERS = (
    ("PARAMETERS/_stringMap/_stringMap.first", "PARAMETERS/_stringMap/_stringMap.second"),
    ("GPStringKeys", "GPStringValues"),
)
"""Where podio keeps the names and the values of texts, before and since its version 1.0."""


class RootWriter(HitWriter):
    """A tree ``showers``, one entry a shower: conditions, ``nhits`` and each column of its hits as an array.

    ``detector`` and ``provenance`` are beside it, as JSON, as a shower file holds them.
    """

    _file: Any
    _tree: Any = None

    def _open(self, stack: ExitStack, temporary: Path) -> None:
        self._file = stack.enter_context(new_root_file(temporary))

    def _write(self, showers: Showers) -> None:
        records = awkward_hits(showers)
        columns = {name: records[name] for name in records.fields}
        if self._tree is None:
            kinds = {name: values.type.content for name, values in columns.items()}
            self._tree = self._file.mktree(TREE, kinds)
        if len(showers):
            self._tree.extend(columns)

    @staticmethod
    def told(path: Path) -> str | None:
        """Return the provenance, JSON. Raises CaloforgeError where it cannot be read."""
        try:
            with uproot.open(path) as file:
                return str(file["provenance"])
        except DAMAGED:
            raise CaloforgeError(f"{path}: cannot be read") from None

    def _finish(self) -> None:
        super()._finish()
        for name, value in {"detector": self.grid.to_json(), "provenance": self.provenance}.items():
            self._file[name] = json.dumps(value, allow_nan=False)


def new_root_file(path: Path) -> Any:
    """Return a new ROOT file, a context manager: histograms and texts are put under names."""
    return uproot.recreate(path)


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except DAMAGED:
        raise CaloforgeError(f"{path}: {what} is not there, is something else, or damaged") from None


def read_columns(path: Path, tree: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read those of the named branches that a tree has, one value an entry; without a name, of the only tree.

    Raises UsageError where there is no file or a choice of trees, CaloforgeError naming what cannot be read.
    """
    require_file(path, "a ROOT file")
    with _readable(path, f"tree {tree}".rstrip()), uproot.open(path) as file:
        trees = sorted({key.partition(";")[0] for key in file.keys(filter_classname=TREES)})
        if not tree and len(trees) > 1:
            raise UsageError(f"{path}: expected {path}:NAME, one of {', '.join(trees)}")
        found = file[tree or trees[0]]
        kept = [name for name in names if name in found.keys()]  # noqa: SIM118 (not a mapping)
        columns = {name: np.asarray(found[name].array(library="np")) for name in kept}
        return {
            name: values if name == "particle" else values.astype(np.float64)
            for name, values in columns.items()
        }


def read_histogram(path: Path, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the edges (B + 1,) and the contents (B,) of a histogram of one axis. Raises as :func:`read_columns` does."""
    require_file(path, "a ROOT file")
    with _readable(path, f"histogram {name}"), uproot.open(path) as file:
        counts, edges = file[name].to_numpy()
        return np.asarray(edges, np.float64), np.asarray(counts, np.float64).reshape(len(edges) - 1)


class EventFile:
    """The events of a ROOT file that podio wrote, as EDM4hep has them.

    Raises UsageError where there is no file, CaloforgeError naming it where it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        require_file(path, "a ROOT file")
        self.path = path
        with self._readable("the file"):
            self._file = uproot.open(path)
        with self._readable("tree events"):
            self._tree = self._file["events"]
            self.count = int(self._tree.num_entries)

    @contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except DAMAGED:
            raise CaloforgeError(
                f"{self.path}: {what} cannot be read: not EDM4hep, or damaged"
            ) from None

    def collections(self, kind: str) -> list[str]:
        """List the collections of a type, such as SimCalorimeterHit."""
        with self._readable("the list of collections"):
            names = self._tree.keys(recursive=False, filter_typename=f"vector<edm4hep::{kind}Data>")
            return [str(name) for name in names]

    def columns(
        self, collection: str, fields: Sequence[str], start: int, stop: int
    ) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
        """Read fields of a collection in some events: how many members each event has, and one flat array a field."""
        found = []
        for field in fields:
            with self._readable(f"collection {collection}, field {field}"):
                branch = self._tree[f"{collection}/{collection}.{field}"]
                found.append(branch.array(library="np", entry_start=start, entry_stop=stop))
        counts = np.array([len(values) for values in found[0]], np.int64)
        if any([len(values) for values in column] != counts.tolist() for column in found):
            raise CaloforgeError(
                f"{self.path}: collection {collection}: fields of unequal lengths, damaged"
            )
        return counts, [np.concatenate([*column, column[0][:0]]) for column in found]

    def parameter(self, name: str) -> str | None:
        """Read a text from the file's metadata; None where it is not there."""
        for keys, values in PARAMETERS:
            with suppress(*DAMAGED):
                tree = self._file["metadata"]
                names, texts = (tree[key].array(library="np")[0] for key in (keys, values))
                return str(list(texts)[list(names).index(name)][0])
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
