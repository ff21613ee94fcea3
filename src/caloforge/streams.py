"""Randomness from one seed through named streams.

A stream is addressed by what it is for ("noise", epoch, shower index), never by how many numbers
were drawn before. So no result depends on the batch size, on the number of workers, or on where a
run was interrupted, and a checkpoint stores no generator state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "rows", "stream", "stream_seed"]


def stream_seed(seed: int, *address: str | int) -> int:
    """Derive a 63-bit seed for the stream at ``address`` from the run's ``seed``."""
    # Texts are quoted: neither ("a", "b") and ("a/b",) nor ("1",) and (1,) share a stream.
    parts = (repr(part) if isinstance(part, str) else str(int(part)) for part in (seed, *address))
    text = "/".join(parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream(seed: int, *address: str | int) -> np.random.Generator:
    """Open the stream at ``address``: a generator that no other address shares."""
    return np.random.Generator(np.random.Philox(key=stream_seed(seed, *address)))


BLOCK = 256
"""Rows that one stream of :func:`rows` serves; part of the meaning of a seed, never to change."""

WIDE = 4096
"""Rows this long have a stream each: opening one costs little then, unused rows would cost a lot."""


def rows(
    draw: Callable[[np.random.Generator, tuple[int, int]], NDArray[Any]],
    width: int,
    first: int,
    count: int,
    seed: int,
    *address: str | int,
) -> NDArray[Any]:
    """Draw rows ``first`` to ``first + count`` of an endless table of random numbers.

    ``draw(generator, shape)`` makes a block of the table, (BLOCK, width), or (1, width) where rows are wide. Row ``i`` is the same in
    whatever pieces the table is read. Returns (count, width).
    """
    size = BLOCK if width < WIDE else 1
    blocks = range(first // size, -(-(first + count) // size))
    if not blocks:
        return draw(stream(seed, *address, 0), (size, width))[:0]
    table = np.concatenate([draw(stream(seed, *address, block), (size, width)) for block in blocks])
    start = first - blocks.start * size
    return table[start : start + count]
