"""Showers as lists of hits, in memory: what sparse images cost when their empty cells are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["SparseShowers"]


@dataclass(frozen=True, eq=False)
class SparseShowers:
    """The filled cells of N showers: shower i has the items ``offsets[i]`` to ``offsets[i + 1]``.

    ``cells`` (H,) index the flattened grid of ``n_cells``, in increasing order within a shower;
    ``deposits`` (H,) are in MeV.
    """

    offsets: NDArray[np.int64]
    cells: NDArray[np.int32]
    deposits: NDArray[np.float32]
    n_cells: int

    @classmethod
    def of(cls, deposits_NXYZ: NDArray[np.float32]) -> Self:
        """List the hits of dense showers."""
        n = len(deposits_NXYZ)
        n_cells = int(np.prod(deposits_NXYZ.shape[1:]))
        flat_NC = deposits_NXYZ.reshape(n, n_cells)
        found = np.flatnonzero(flat_NC)
        shower_H = found // n_cells
        return cls(
            np.concatenate([[0], np.cumsum(np.bincount(shower_H, minlength=n))]),
            (found - shower_H * n_cells).astype(np.int32),
            flat_NC.reshape(-1)[found],
            n_cells,
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put the showers of several parts (at least one) one after another."""
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(
            np.concatenate([[0], np.cumsum(counts)]),
            np.concatenate([part.cells for part in parts]),
            np.concatenate([part.deposits for part in parts]),
            parts[0].n_cells,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def shower(self) -> NDArray[np.int64]:
        """The shower that each hit belongs to, (H,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def take(self, rows: NDArray[np.integer[Any]]) -> SparseShowers:
        """Select showers, in the order of ``rows``."""
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        where = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts)
        return SparseShowers(offsets, self.cells[where], self.deposits[where], self.n_cells)

    def dense(self) -> NDArray[np.float32]:
        """Return the showers as an array (N, n_cells)."""
        out = np.zeros((len(self), self.n_cells), np.float32)
        out[self.shower, self.cells] = self.deposits
        return out

    def sum(self, weights: NDArray[Any], place: NDArray[Any], n_places: int) -> NDArray[np.float64]:
        """Add up ``weights`` (H,) by shower and ``place`` (H,), which counts to ``n_places``: (N, n)."""
        index = self.shower * n_places + place
        sums = np.bincount(index, weights, minlength=len(self) * n_places)
        return sums.reshape(len(self), n_places).astype(np.float64, copy=False)
