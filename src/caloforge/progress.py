"""How long work tells its caller how far it is; the terminal's side of it lives in ``cli``."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called from time to time with what is done, of how much, and figures worth showing."""

    def __call__(self, done: int, total: int, **figures: float) -> None:
        """Report that ``done`` of ``total`` units are finished."""


def silent(done: int, total: int, **figures: float) -> None:
    """Show nothing."""
