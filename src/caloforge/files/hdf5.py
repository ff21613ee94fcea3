"""HDF5 files that anybody may have written: what is read is checked first, and told in one line."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.locks import warn_without_locks
from caloforge.foundations.texts import MAX_BYTES, require_file

__all__ = [
    "MAX_CHUNK_BYTES",
    "Numbers",
    "attribute",
    "field_names",
    "numeric_dataset",
    "open_hdf5",
    "read_rows",
    "rows_per_read",
    "text_attribute",
]

MAX_CHUNK_BYTES = 1 << 28
"""HDF5 unpacks whole chunks: a larger one could fill the memory from a file of a few kB."""

READ_BYTES = 1 << 24
"""About how many bytes of a dataset are in memory while it is streamed."""

Numbers = NDArray[Any]


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading. Raises UsageError if absent, CaloforgeError if not HDF5."""
    require_file(path, "an HDF5 file")
    try:
        return _opened(path)
    except BlockingIOError:
        raise CaloforgeError(f"{path}: another program is writing it") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = "truncated" if "truncated" in str(error) else "not an HDF5 file, or damaged"
        raise CaloforgeError(f"{path}: {reason}") from None


def _opened(path: Path) -> h5py.File:
    """Open a file, without a lock where the file system has none."""
    try:
        return h5py.File(path, "r")
    except BlockingIOError:
        raise
    except OSError as error:
        file = h5py.File(path, "r", locking=False)  # raises the same where locks are not the reason
        warn_without_locks(path, error)
        return file


@contextmanager
def _readable(path: Path, what: str) -> Iterator[None]:
    """Turn whatever the HDF5 library says of damaged bytes into one line."""
    try:
        yield
    except (ArithmeticError, KeyError, OSError, RuntimeError, TypeError, ValueError):
        raise CaloforgeError(f"{path}: {what} cannot be read, the file is damaged") from None


def field_names(file: h5py.File, path: Path) -> list[str]:
    """List the names at the file's root, wherever they may lead."""
    with _readable(path, "the list of fields"):
        return [str(name) for name in file]


def local_dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """Get a dataset whose data lies in this very file. Raises CaloforgeError otherwise.

    External links, external storage and virtual datasets could read any file of the reader's.
    """
    if name not in field_names(file, path):
        _refuse(path, name, "is missing")
    with _readable(path, f"field {name}"):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            _refuse(path, name, "is a link to elsewhere, expected data in the file")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            _refuse(path, name, f": expected a dataset, found a {type(dataset).__name__.lower()}")
        if dataset.is_virtual or dataset.external:
            _refuse(path, name, "is stored elsewhere, expected data in the file")
        return dataset


def numeric_dataset(
    file: h5py.File, path: Path, name: str, shape: tuple[int | None, ...], kinds: str = "fiu"
) -> h5py.Dataset:
    """Get a dataset of numbers with this shape (None: any length), complete and readable.

    ``kinds`` are the kinds of numpy types that are allowed. Raises CaloforgeError naming the field.
    """
    dataset = local_dataset(file, path, name)
    with _readable(path, f"type of field {name}"):
        kind, type_name, found = dataset.dtype.kind, str(dataset.dtype), dataset.shape
    if kind not in kinds:
        what = "whole numbers" if kinds == "iu" else "numbers"
        _refuse(path, name, f": expected {what}, found type {type_name[:60]}")
    wanted = ", ".join("N" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "")
    fits = found is not None and len(found) == len(shape)
    if not fits or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
        _refuse(path, name, f": expected shape ({wanted}), found {found}")
    with _readable(path, f"field {name}"):
        _check_storage(dataset, path, name)
    return dataset


def _check_storage(dataset: h5py.Dataset, path: Path, name: str) -> None:
    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        code, _, _, filter_name = properties.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            label = filter_name.decode(errors="replace")[:60] or "unknown"
            _refuse(
                path, name, f"is compressed by filter {code} ({label!r}), which is not installed here"
            )
    if dataset.chunks:
        n_bytes = math.prod(dataset.chunks) * dataset.dtype.itemsize
        if n_bytes > MAX_CHUNK_BYTES:
            limit = f"expected chunks of at most {MAX_CHUNK_BYTES >> 20} MiB"
            _refuse(path, name, f": {limit}, found {n_bytes >> 20} MiB")
        expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        if dataset.id.get_num_chunks() < expected:
            found = f"{dataset.id.get_num_chunks()} of {expected} chunks"
            _refuse(path, name, f"is incomplete: {found} were written")
    elif dataset.id.get_storage_size() < dataset.nbytes:
        found = f"{dataset.id.get_storage_size()} of {dataset.nbytes} bytes"
        _refuse(path, name, f"is incomplete: {found} were written")


def read_rows(dataset: h5py.Dataset, path: Path, rows: slice, dtype: DTypeLike) -> Numbers:
    """Read rows of a dataset as ``dtype``; beyond its range a number becomes infinite, a whole one is refused.

    Another type is converted a piece at a time. Raises CaloforgeError also where the bytes cannot be read or
    do not fit into the memory.
    """
    name = str(dataset.name).lstrip("/")
    wanted = range(*rows.indices(dataset.shape[0]))
    n_bytes = len(wanted) * math.prod(dataset.shape[1:]) * np.dtype(dtype).itemsize
    if n_bytes > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        _refuse(path, name, f": {len(wanted)} rows need {n_bytes / 2**30:.0f} GiB of memory")
    with _readable(path, f"field {name}"), np.errstate(over="ignore", invalid="ignore"):
        if dataset.dtype == dtype:
            return np.asarray(dataset[rows])
        found = np.empty((len(wanted), *dataset.shape[1:]), dtype)
        step = rows_per_read(dataset)
        for first in range(0, len(wanted), step):
            part = wanted[first : first + step]
            values = np.asarray(dataset[part.start : part.stop])
            cast = found[first : first + step]
            cast[...] = values
            if cast.dtype.kind == "i" and (cast != values).any():
                row = int(np.argmax(cast != values))
                limit = f"expected whole numbers of {8 * cast.itemsize} bits"
                _refuse(path, name, f": {limit}, row {part.start + row} has {values[row]}")
        return found


def rows_per_read(dataset: h5py.Dataset, length: int | None = None) -> int:
    """Choose how many rows to read at a time: about ``length``, or as many as READ_BYTES hold.

    A multiple of the stored chunks' rows wherever that fits into the memory, so that nothing is
    unpacked twice.
    """
    row_bytes: int = max(1, math.prod(dataset.shape[1:]) * dataset.dtype.itemsize)
    most = max(1, MAX_CHUNK_BYTES // row_bytes)
    wanted = max(1, min(most, READ_BYTES // row_bytes if length is None else length))
    chunk = int(dataset.chunks[0]) if dataset.chunks else 1
    return wanted if chunk > most else max(1, wanted // chunk) * chunk


def attribute(file: h5py.File | h5py.Dataset, path: Path, name: str) -> Any:
    """Get an attribute; None if there is none. Raises CaloforgeError where it cannot be read."""
    with _readable(path, f"attribute {name}"):
        if name not in file.attrs:
            return None
        if file.attrs.get_id(name).get_storage_size() > MAX_BYTES:
            raise CaloforgeError(f"{path}: attribute {name}: expected at most {MAX_BYTES >> 20} MiB")
        return file.attrs[name]


def text_attribute(file: h5py.File | h5py.Dataset, path: Path, name: str) -> str | None:
    """Get an attribute that should be a text; None if there is none. Raises CaloforgeError."""
    value = attribute(file, path, name)
    if value is None:
        return None
    with suppress(UnicodeError):
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):  # where it is not UTF-8 it has surrogates, which UTF-8 refuses
            return value.encode().decode()
    found = type(value).__name__
    raise CaloforgeError(f"{path}: attribute {name}: expected a text in UTF-8, found {found}")


def _refuse(path: Path, name: str, problem: str) -> NoReturn:
    separator = "" if problem.startswith(":") else " "
    raise CaloforgeError(f"{path}: field {name}{separator}{problem}")
