"""How fast each part is, measured side by side in one run.

One module a benchmark; each has ``measure(seconds, seed, progress) -> list[Row]``: rows of one table,
all with the same columns, measured within about ``seconds``. Units belong in the columns' names. One with
too many columns for a terminal names those that are printed in ``SHOWN``.
"""

from __future__ import annotations

from typing import Protocol

from caloforge.foundations.progress import Progress

__all__ = ["Measure", "Row"]

Row = dict[str, str | int | float]
"""One line of a benchmark's table, by column name."""


class Measure(Protocol):
    """What a benchmark's module offers under the name ``measure``."""

    def __call__(self, seconds: float, seed: int, progress: Progress) -> list[Row]:
        """Measure for about ``seconds``; raise MissingExtraError if a needed package is absent."""
