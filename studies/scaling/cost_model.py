"""What a step of synchronous data-parallel training takes on n workers, from what its parts take.

A message of S bytes takes ``latency + S * s_per_byte`` (the alpha-beta model: R. Hockney, Parallel
Computing 20 (1994) 389); sums over workers are those of MPI libraries, and of gloo as training uses it
(:mod:`caloforge.training.process_mesh`). A step is a sequence of turns (3DGAN has four: the critic on
real and on fake showers, the generator twice). A turn ends when the slowest worker has its gradients
and these are averaged, as far as that was not done while the backward pass went on. Times are in
seconds, sizes in bytes, and every worker is assumed to be like every other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

__all__ = [
    "AllReduce",
    "Bucket",
    "Link",
    "LossStep",
    "Shape",
    "StepTime",
    "best_s",
    "gloo_mesh_s",
    "gloo_ring_s",
    "halving_doubling_s",
    "hierarchical_s",
    "recursive_doubling_s",
    "ring_s",
    "slowest_normal_s",
    "slowest_of_s",
    "step_time",
]

AllReduce = Callable[[float], float]
"""Bytes to the seconds in which all workers add them up."""

Shape = tuple[int, int, int]
"""Rows and columns of nodes, and workers a node."""

GLOO_SEGMENT_BYTES = 1 << 20
"""gloo cuts what it sends into segments of at most so many bytes."""


@dataclass(frozen=True)
class Link:
    """What a message costs between two workers: once, and for each byte."""

    latency_s: float
    s_per_byte: float

    @classmethod
    def of_rate(cls, latency_s: float, bit_per_s: float) -> Link:
        """Make a link of a bandwidth in bit/s."""
        return cls(latency_s, 8 / bit_per_s)

    def message_s(self, size_bytes: float) -> float:
        """Time one message."""
        return self.latency_s + size_bytes * self.s_per_byte

    def over(self, wire: Link) -> Link:
        """Return what a message costs that pays this, a software's, and a wire's price."""
        return Link(wire.latency_s + self.latency_s, wire.s_per_byte + self.s_per_byte)


def gloo_ring_s(n: int, size_bytes: float, link: Link) -> float:
    """Time gloo's all_reduce over TCP, a ring, as it was found by measurement (docs/scaling.md).

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


def gloo_mesh_s(shape: Shape, size_bytes: float, between: Link, within: Link) -> float:
    """Time what training does on several nodes: reduce, all_reduce along columns and rows, broadcast.

    gloo's reduce is the first half of its ring, after which each worker of the node sends its chunk to
    the first; its broadcast is a binomial tree, each message of which waits for its receiver's word.
    One worker of each node uses the node's cable.
    """
    rows, columns, per_node = shape
    total_s = gloo_ring_s(columns, size_bytes, between) + gloo_ring_s(rows, size_bytes, between)
    if per_node > 1:
        gather_s = 2 * within.latency_s + (1 - 1 / per_node) * size_bytes * within.s_per_byte
        message_s = 2 * within.latency_s + size_bytes * within.s_per_byte
        broadcast_s = math.ceil(math.log2(per_node)) * message_s
        total_s += gloo_ring_s(per_node, size_bytes, within) / 2 + gather_s + broadcast_s
    return total_s


def ring_s(n: int, size_bytes: float, link: Link) -> float:
    """Time a ring: 2 (n - 1) messages of S / n bytes, one after the other.

    It moves as few bytes as is possible: P. Patarasuk and X. Yuan, J. Parallel Distrib. Comput. 69
    (2009) 117.
    """
    return 2 * (n - 1) * link.message_s(size_bytes / n)


def recursive_doubling_s(n: int, size_bytes: float, link: Link) -> float:
    """Time recursive doubling: all bytes in each of log2 n messages, the best for few bytes.

    R. Thakur, R. Rabenseifner and W. Gropp, Int. J. High Perform. Comput. Appl. 19 (2005) 49; where n
    is no power of two, the rest joins by a message before and one after.
    """
    return _doublings(n) * link.message_s(size_bytes)


def halving_doubling_s(n: int, size_bytes: float, link: Link) -> float:
    """Time recursive halving, then doubling (Rabenseifner): 2 log2 n messages, as few bytes as a ring.

    Thakur, Rabenseifner and Gropp (2005), as :func:`recursive_doubling_s`.
    """
    power = 1 << (n.bit_length() - 1)
    whole = 2 * math.log2(power) * link.latency_s + 2 * (1 - 1 / power) * size_bytes * link.s_per_byte
    return whole + (2 * link.message_s(size_bytes) if power < n else 0.0)


def _doublings(n: int) -> int:
    power = n.bit_length() - 1
    return power if 1 << power == n else power + 2


def best_s(n: int, size_bytes: float, link: Link) -> float:
    """Time the fastest of the three, as MPI libraries choose it by size and n."""
    return min(way(n, size_bytes, link) for way in (ring_s, recursive_doubling_s, halving_doubling_s))


def hierarchical_s(workers_per_node: int, size_bytes: float, within: Link, between: AllReduce) -> float:
    """Time an all-reduce that scatters and gathers within each node, by a ring, around one between nodes.

    Between nodes every worker reduces its share at the same time; they share the node's cable, so that
    it carries ``size_bytes`` in all. The scheme is that of P. Goyal et al., arXiv:1706.02677, section 4.
    """
    return ring_s(workers_per_node, size_bytes, within) + between(size_bytes)


def slowest_of_s(times_s: Sequence[float], n: int) -> float:
    """Return the mean of the largest of n draws (with replacement) from measured times."""
    ordered, m = sorted(times_s), len(times_s)
    return sum(t * ((i / m) ** n - ((i - 1) / m) ** n) for i, t in enumerate(ordered, 1))


def slowest_normal_s(mean_s: float, sigma_s: float, n: int) -> float:
    """Return the mean of the largest of n normal times: for more workers than times were measured.

    G. Blom, Statistical Estimates and Transformed Beta-Variables (1958): the quantile at
    (n - 3/8) / (n + 1/4).
    """
    if n == 1:
        return mean_s
    return mean_s + sigma_s * NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


@dataclass(frozen=True)
class Bucket:
    """Gradients that are sent together, and how long before the backward pass ends they are ready."""

    size_bytes: float
    before_end_s: float = 0.0


@dataclass(frozen=True)
class LossStep:
    """One optimiser step of one network: what it computes, and the gradients in order of sending."""

    compute_s: float
    """Mean over workers and steps."""
    sigma_s: float
    """Standard deviation over workers and steps."""
    buckets: tuple[Bucket, ...]

    def exposed_s(self, allreduce: AllReduce) -> float:
        """Time the communication that is left when the backward pass is over."""
        clock_s = -math.inf
        for bucket in self.buckets:
            clock_s = max(clock_s, -bucket.before_end_s) + allreduce(bucket.size_bytes)
        return max(0.0, clock_s)


@dataclass(frozen=True)
class StepTime:
    """Where the seconds of a step go."""

    compute_s: float
    waiting_s: float
    communication_s: float

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.compute_s + self.waiting_s + self.communication_s


def step_time(turns: Iterable[LossStep], workers: int, allreduce: AllReduce) -> StepTime:
    """Add up a step's turns, each of which waits for its slowest worker; no network for one worker."""
    compute_s = waiting_s = communication_s = 0.0
    for turn in turns:
        compute_s += turn.compute_s
        waiting_s += slowest_normal_s(turn.compute_s, turn.sigma_s, workers) - turn.compute_s
        communication_s += turn.exposed_s(allreduce) if workers > 1 else 0.0
    return StepTime(compute_s, waiting_s, communication_s)
