"""How long work tells its caller how far it is; the terminal's side of it lives in ``cli``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise, repeat
from typing import Protocol

__all__ = ["Part", "Progress", "Say", "say_nothing", "silent"]


class Progress(Protocol):
    """Called from time to time with what is done, of how much, and figures worth showing; a text is shown as it is."""

    def __call__(self, done: int, total: int, **figures: float | str) -> None:
        """Report that ``done`` of ``total`` units are finished."""


def silent(done: int, total: int, **figures: float | str) -> None:
    """Show nothing."""


Say = Callable[[str], None]
"""Tells the user a line."""


def say_nothing(text: str) -> None:
    """Say nothing, where somebody else speaks."""


@dataclass(frozen=True)
class Part:
    """A part of some work, told to the caller as per cent of the whole; ``stage`` says what it does."""

    progress: Progress
    start: float = 0
    stop: float = 100
    stage: str = ""

    def __call__(self, done: int, total: int, **figures: float | str) -> None:
        """Report that ``done`` of ``total`` units of this part are finished."""
        named = {"stage": self.stage, **figures} if self.stage else figures
        self.progress(int(self.start + (self.stop - self.start) * done / max(1, total)), 100, **named)

    def shares(self, weights: Iterable[float], stages: Iterable[str] = ()) -> list[Part]:
        """Divide the part into others, one after another, by their weights; ``stages`` name them."""
        ends = list(accumulate(weights, initial=0.0))
        scale = (self.stop - self.start) / (ends[-1] or 1)
        return [
            Part(self.progress, self.start + scale * a, self.start + scale * b, stage or self.stage)
            for (a, b), stage in zip(pairwise(ends), chain(stages, repeat("")), strict=False)
        ]
