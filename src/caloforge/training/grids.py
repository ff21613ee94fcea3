"""Which way a sum over all workers takes under gloo: one ring, or exchanges along a grid of workers.

A message of S bytes takes ``latency + S * s_per_byte`` (the alpha-beta model: R. Hockney, Parallel
Computing 20 (1994) 389). gloo's ring passes as many messages one after the other as there are workers.
An exchange, in which each of n workers sends a share to each other, takes two latencies for any n. So
workers are arranged in a grid, and along each of its directions

- each sends its shares to the others, and adds up those that it gets: one share is its own now;
- the same goes on with that share along the next direction, within the node first, then between nodes;
- all the way back each sends what it has to the others.

This moves as few bytes as a ring (P. Patarasuk and X. Yuan, J. Parallel Distrib. Comput. 69 (2009) 117).
With two workers in each direction it is Rabenseifner's halving and doubling (R. Thakur, R. Rabenseifner
and W. Gropp, Int. J. High Perform. Comput. Appl. 19 (2005) 49). Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["TYPICAL", "Link", "Way", "best_way", "gloo_ring_s", "grid_s", "way_s"]

GLOO_SEGMENT_BYTES = 1 << 20
"""gloo cuts what it sends into segments of at most so many bytes."""

WORTH = 0.8
"""A grid must promise to take less than this part of the ring's time."""

Way = int | tuple[int, ...]
"""A ring of so many workers; or the sides of a grid, whose last direction has consecutive ranks."""


@dataclass(frozen=True)
class Link:
    """What a message costs between two workers: once, and for each byte."""

    latency_s: float
    s_per_byte: float
    busy_s: float = 0.0
    """Of the latency, what keeps the sender busy: messages sent at once wait for each other so long."""

    @classmethod
    def of_rate(cls, latency_s: float, bit_per_s: float) -> Link:
        """Make a link of a bandwidth in bit/s."""
        return cls(latency_s, 8 / bit_per_s)

    def message_s(self, size_bytes: float) -> float:
        """Time one message."""
        return self.latency_s + size_bytes * self.s_per_byte


TYPICAL = Link(50e-6, 1e-9, 40e-6)
"""About what gloo itself takes over TCP (docs/scaling.md, loopback), to which a cluster's network adds little.

It decides the way. That must be the same in every run, so nothing is measured when a run begins."""


def gloo_ring_s(n: int, size_bytes: float, link: Link) -> float:
    """Time gloo's ring over TCP, as it was found by measurement (docs/scaling.md).

    Each of two phases (reduce and scatter, then gather) passes n - 1 chunks of S / n bytes on to one
    neighbour, each cut into at least two segments, two of them on their way at a time. A segment
    leaves only when its receiver has said that it waits for it, and that it says when the segment
    before the last has arrived: so two segments cost two latencies, unless the cable is busy for
    longer.
    """
    if n == 1:
        return 0.0
    segments = max(2, math.ceil(size_bytes / n / GLOO_SEGMENT_BYTES))
    sent = (n - 1) * segments
    segment_s = size_bytes / n / segments * link.s_per_byte
    waiting = math.ceil(sent / 2) * (2 * link.latency_s + segment_s) + (1 - sent % 2) * segment_s
    busy = 2 * link.latency_s + sent * segment_s
    return 2 * max(waiting, busy)


def grid_s(
    sides: tuple[int, ...],
    size_bytes: float,
    between: Link,
    within: Link | None = None,
    per_node: int = 1,
) -> float:
    """Time exchanges along a grid; its last directions lie within nodes of ``per_node`` workers.

    An exchange costs two latencies (the receiver says that it waits), then its bytes; there are two
    along each direction. ``between`` is what one worker has of the cable that its node shares.
    """
    total_s, workers = 0.0, 1
    for n in reversed(sides):
        workers *= n
        link = within if within is not None and workers <= per_node else between
        if n > 1:
            exchange_s = 2 * link.latency_s + (n - 2) * link.busy_s
            total_s += 2 * (exchange_s + (1 - 1 / n) * size_bytes * link.s_per_byte)
        size_bytes /= n
    return total_s


def way_s(way: Way, size_bytes: float, link: Link) -> float:
    """Time a ring or a grid whose links are all alike."""
    if isinstance(way, int):
        return gloo_ring_s(way, size_bytes, link)
    return grid_s(way, size_bytes, link)


def best_way(nodes: int, per_node: int, size_bytes: float) -> Way:
    """Choose how to add up so many bytes over ``nodes`` of ``per_node`` consecutive ranks each.

    A few workers use gloo's ring, which is as fast for them; so do many for whom the bytes count more
    than the latencies.
    """

    def seconds(way: Way) -> float:
        return way_s(way, size_bytes, TYPICAL)

    ring = nodes * per_node
    grids = [(*a, *b) for a in _factors(nodes) for b in _factors(per_node)]
    grid = min(grids, key=lambda sides: (seconds(sides), len(sides)))
    return grid if seconds(grid) < WORTH * seconds(ring) else ring


def _factors(n: int, least: int = 2) -> Iterator[tuple[int, ...]]:
    """List the ways to write n as a product of numbers of at least ``least``, in rising order."""
    if n == 1:
        yield ()
    elif n >= least:
        yield (n,)
    for side in range(least, math.isqrt(n) + 1):
        if n % side == 0:
            yield from ((side, *rest) for rest in _factors(n // side, side))
