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

__all__ = ["BLOCK", "DEFAULT_SEED", "MAX_SEED", "rows", "stream", "stream_seed", "words"]


DEFAULT_SEED = 1
"""Of Python and of the command line, where nobody chooses another."""

MAX_SEED = (1 << 63) - 1
"""Other programs that read it from a file's provenance know no larger number."""


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


def rows(
    draw: Callable[[np.random.Generator, tuple[int, int]], NDArray[Any]],
    width: int,
    first: int,
    count: int,
    seed: int,
    *address: str | int,
) -> NDArray[Any]:
    """Draw rows ``first`` to ``first + count`` of an endless table of random numbers.

    ``draw(generator, shape)`` makes a block of the table, (BLOCK, width). Row ``i`` is the same in
    whatever pieces the table is read. Returns (count, width).
    """
    blocks = range(first // BLOCK, -(-(first + count) // BLOCK))
    if not blocks:
        return draw(stream(seed, *address, 0), (BLOCK, width))[:0]
    table = np.concatenate([draw(stream(seed, *address, block), (BLOCK, width)) for block in blocks])
    start = first - blocks.start * BLOCK
    return table[start : start + count]


def words(width: int, first: int, count: int, seed: int, *address: str | int) -> NDArray[np.uint64]:
    """Draw rows of an endless table of 64-bit words, (count, width), faster than :func:`rows` where they are wide.

    The generator is moved to the first word at once, which takes one with a fixed number of words a draw.
    """
    generator = np.random.PCG64DXSM(stream_seed(seed, *address))
    generator.advance(first * width)
    return generator.random_raw(count * width).reshape(count, width)
