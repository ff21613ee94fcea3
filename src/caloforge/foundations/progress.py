"""How long work tells its caller how far it is; the terminal's side of it lives in ``cli``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

__all__ = ["Part", "Progress", "say_nothing", "silent"]


class Progress(Protocol):
    """Called from time to time with what is done, of how much, and figures worth showing."""

    def __call__(self, done: int, total: int, **figures: float) -> None:
        """Report that ``done`` of ``total`` units are finished."""


def silent(done: int, total: int, **figures: float) -> None:
    """Show nothing."""


def say_nothing(text: str) -> None:
    """Say nothing, where somebody else speaks."""


@dataclass(frozen=True)
class Part:
    """A part of some work, told to the caller as per cent of the whole."""

    progress: Progress
    start: float = 0
    stop: float = 100

    def __call__(self, done: int, total: int, **figures: float) -> None:
        """Report that ``done`` of ``total`` units of this part are finished."""
        self.progress(int(self.start + (self.stop - self.start) * done / max(1, total)), 100, **figures)

    def shares(self, weights: Iterable[float]) -> list[Part]:
        """Divide the part into others, one after another, by their weights."""
        ends = list(accumulate(weights, initial=0.0))
        scale = (self.stop - self.start) / (ends[-1] or 1)
        return [
            Part(self.progress, self.start + scale * a, self.start + scale * b)
            for a, b in pairwise(ends)
        ]
