"""Randomness from one seed through named streams.

A stream is addressed by what it is for ("noise", epoch, shower index), never by how many numbers
were drawn before. So no result depends on the batch size, on the number of workers, or on where a
run was interrupted, and a checkpoint stores no generator state.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream", "stream_seed"]


def stream_seed(seed: int, *address: str | int) -> int:
    """Derive a 63-bit seed for the stream at ``address`` from the run's ``seed``."""
    text = "/".join([str(int(seed)), *map(str, address)])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream(seed: int, *address: str | int) -> np.random.Generator:
    """Open the stream at ``address``: a generator that no other address shares."""
    return np.random.Generator(np.random.Philox(key=stream_seed(seed, *address)))
