"""What a step of synchronous data-parallel training takes on n workers, from what its parts take.

What a message and a sum over workers take under gloo stands in :mod:`caloforge.training.grids`, where
training chooses by it; here is what MPI libraries do. A step is a sequence of turns (3DGAN has four: the critic on real and on
fake showers, the generator twice). A turn ends when the slowest worker has its gradients and these
are averaged, as far as that was not done while the backward pass went on. Times are in seconds,
sizes in bytes, and every worker is assumed to be like every other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from caloforge.training.grids import Link

__all__ = [
    "AllReduce",
    "Bucket",
    "LossStep",
    "StepTime",
    "best_s",
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
