"""Sparse deposits as the compressed chunks of a file, in the format of HDF5's gzip filter (zlib, RFC 1950)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Showers

__all__ = ["LEVEL", "PackedShowers", "deflate", "pieces", "quickest_crc32"]

LEVEL, MEMORY = 1, 9


@dataclass(frozen=True)
class PackedShowers:
    """Showers for the rows from ``first`` of a file, the chunks that they fill, by row, compressed, and each one's CRC."""

    showers: Showers
    first: int
    chunks: Mapping[int, bytes]
    crcs: Sequence[int]


def pieces(first: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut the rows from ``first`` to ``stop`` where chunks of ``size`` rows are cut."""
    while first < stop:
        end = min(stop, first - first % size + size)
        yield first, end
        first = end


def deflate(values: NDArray[np.float32]) -> bytes:
    """Compress an array; other threads go on meanwhile.

    With the package ``isal`` if it is installed. Otherwise only runs of equal bytes are looked for: most
    cells are empty, so that nothing else is worth its time. Bytes are not shuffled before, as runs of
    zeros would be cut into four.
    """
    data = np.ascontiguousarray(values).data
    if (isal := _isal()) is not None:
        packed: bytes = isal.compress(data, LEVEL)
        return packed
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, MEMORY, zlib.Z_RLE)
    return compressor.compress(data) + compressor.flush()


def quickest_crc32() -> Callable[[Any, int], int]:
    """Return the function for CRC-32: that of ``isal`` takes a tenth of zlib's time."""
    crc32: Callable[[Any, int], int] = (_isal() or zlib).crc32
    return crc32


@cache
def _isal() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib
