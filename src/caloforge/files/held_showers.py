"""Showers in memory, read as those of a file are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from caloforge.detector import Grid
from caloforge.files.shower_file import ShowerFile, check_deposits
from caloforge.foundations.errors import UsageError
from caloforge.showers import Conditions, Showers

__all__ = ["HeldShowers", "ShowerSource", "open_showers"]


@dataclass(frozen=True, eq=False)
class HeldShowers:
    """What comparisons need of a :class:`~caloforge.files.shower_file.ShowerFile`, of showers that are in memory.

    ``path`` is what errors and reports call them. Deposits are checked as they are read.
    """

    showers: Showers
    path: Path

    @property
    def grid(self) -> Grid:
        """The showers' grid."""
        return self.showers.grid

    @property
    def provenance(self) -> dict[str, object]:
        """Where they come from."""
        return dict(self.showers.provenance)

    @property
    def conditions(self) -> Conditions:
        """What they were given."""
        return self.showers.conditions

    def __len__(self) -> int:
        return len(self.showers)

    def read(self, start: int = 0, stop: int | None = None) -> Showers:
        """Return showers ``start`` to ``stop``. Raises CaloforgeError where a deposit cannot be."""
        rows = slice(*slice(start, stop).indices(len(self)))
        deposits = np.asarray(self.showers.deposits[rows], np.float32)
        check_deposits(deposits, self.path, rows.start)
        return replace(self.showers[rows], deposits=deposits)

    def chunks(self, length: int = 256) -> Iterator[Showers]:
        """Return all of them in order, ``length`` at a time."""
        return (self.read(start, start + length) for start in range(0, len(self), length))


ShowerSource = ShowerFile | HeldShowers


def open_showers(stack: ExitStack, showers: object, name: str) -> ShowerSource:
    """Open a file until the stack ends, or hold showers in memory under a ``name``.

    Raises UsageError where it is neither, and as :class:`~caloforge.files.shower_file.ShowerFile` does.
    """
    if isinstance(showers, Showers):
        return HeldShowers(showers, Path(name))
    if not isinstance(showers, str | Path):
        got = type(showers).__name__
        raise UsageError(f"{name}: expected a shower file or Showers, got {got}")
    return stack.enter_context(ShowerFile(showers))
