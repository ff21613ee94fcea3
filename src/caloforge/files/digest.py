"""One number for the content of a shower file, however it is cut into chunks and compressed.

Each shower has a CRC-32 of its deposits and of its columns, as little-endian bytes. These numbers, in order, are the
digits of one large number modulo a prime, so that parts can be joined without reading them again. It finds
flipped bits and showers that are missing, empty or exchanged; it is no signature: whoever wants to can forge it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.files.packing import quickest_crc32

__all__ = ["ContentDigest", "header_digest", "is_digest", "row_crcs"]

PRIME = (1 << 61) - 1
BASE = 437799614237992725
"""A primitive root of PRIME: no two showers of a file weigh the same."""


@dataclass
class ContentDigest:
    """The showers so far, as one number."""

    value: int = 0

    def add(self, crcs: Iterable[int]) -> None:
        """Go on with the next showers."""
        for crc in crcs:
            self.value = (self.value * BASE + crc + 1) % PRIME

    def join(self, digest: str, count: int) -> None:
        """Go on with the so many showers of a file that has this digest."""
        self.value = (self.value * pow(BASE, count, PRIME) + int(digest, 16)) % PRIME

    def __str__(self) -> str:
        return f"{self.value:016x}"


def header_digest(detector: str, provenance: str, fields: Iterable[str]) -> str:
    """Return the CRC-32 of what a file says beside its numbers: its attributes, and which fields it has."""
    return f"{zlib.crc32(json.dumps([detector, provenance, sorted(fields)]).encode()):08x}"


def is_digest(text: str) -> bool:
    """Say whether a text is one that a :class:`ContentDigest` gives."""
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def row_crcs(values: NDArray[Any], before: Sequence[int] | None = None) -> list[int]:
    """Return the CRC-32 of each row's bytes, going on from those of ``before``; other threads go on meanwhile."""
    if not len(values):
        return []
    crc32 = quickest_crc32()
    rows = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(np.uint8)
    rows = rows.reshape(len(values), -1)
    return [crc32(row, crc) for row, crc in zip(rows, before or [0] * len(rows), strict=True)]
