"""What gloo adds to the wire: latency and time a byte, fitted to measured all-reduces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studies.scaling.cost_model import Link, Shape, gloo_mesh_s, gloo_ring_s

__all__ = ["FREE", "Point", "Way", "fit_software", "relative_errors"]

Way = int | Shape
"""The flat ring of so many workers, or the mesh that training makes of them."""

FIRST_STEP = (1e-3, 1e-9)
"""Of latency (s) and of time a byte (s)."""
LAST_STEP_S = 1e-11
FREE = Link(0.0, 0.0)
DIRECTIONS = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]


@dataclass(frozen=True)
class Point:
    """One measured all-reduce: what the network was set to, and the way that the sum took."""

    wire: Link
    way: Way
    size_bytes: int
    seconds: float
    within: Link = FREE
    """Between processes of one host, if a host has several."""

    def predicted_s(self, software: Link) -> float:
        """Predict the time, the software's costs being added to those of the wire."""
        between = software.over(self.wire)
        if isinstance(self.way, int):
            return gloo_ring_s(self.way, self.size_bytes, between)
        return gloo_mesh_s(self.way, self.size_bytes, between, self.within)


def fit_software(points: Sequence[Point]) -> Link:
    """Fit the latency and the time a byte that all points share, by least squares of relative errors.

    The model has kinks, where its slower branch changes: the two are found by a search that needs no
    slopes, in all eight directions, with steps that are halved when none is better. Neither can be
    negative.
    """

    def loss(latency_s: float, s_per_byte: float) -> float:
        return sum(error**2 for error in relative_errors(points, Link(latency_s, s_per_byte)))

    here, step = (0.0, 0.0), FIRST_STEP
    best = loss(*here)
    while step[0] > LAST_STEP_S:
        tries = [
            (max(0.0, here[0] + a * step[0]), max(0.0, here[1] + b * step[1])) for a, b in DIRECTIONS
        ]
        found, there = min((loss(*each), each) for each in tries)
        if found < best:
            best, here = found, there
        else:
            step = (step[0] / 2, step[1] / 2)
    return Link(*here)


def relative_errors(points: Iterable[Point], software: Link) -> list[float]:
    """Return (predicted - measured) / measured of each point."""
    return [point.predicted_s(software) / point.seconds - 1 for point in points]
