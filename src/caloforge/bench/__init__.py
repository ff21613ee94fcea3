"""How fast each part is, measured side by side in one run.

One module a benchmark; each has ``measure(seconds, seed, progress) -> list[Row]``: rows of one table,
all with the same columns, measured within about ``seconds``. Units belong in the columns' names.
"""

from __future__ import annotations

__all__ = ["Row"]

Row = dict[str, str | int | float]
"""One line of a benchmark's table, by column name."""
