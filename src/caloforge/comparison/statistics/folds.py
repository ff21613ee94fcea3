"""Cross-fitting: every shower is judged once, by a model that has not seen it.

The showers fall into five folds by their group. Each fold in turn is left aside and judged at the
end; the next one only says when to stop; the other three train. Showers with the same conditions in
both files must share a group (as :func:`caloforge.comparison.samples.assign_groups` has it for files
in the same order): else a model learns of which file it has seen an energy, and is wrong on purpose
about the other file's shower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import CaloforgeError

__all__ = ["MIN_IN_FOLD", "N_FOLDS", "Fold", "check_folds", "fold_of", "folds"]

N_FOLDS = 5
MIN_IN_FOLD = 4
"""Fewer showers of a sample in a fold tell nothing."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows that train, rows that say when to stop, rows to judge; ``number`` counts from 0."""

    number: int
    train: Rows
    validation: Rows
    test: Rows


def fold_of(group_N: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Tell in which fold a group's showers are."""
    return group_N % N_FOLDS


def folds(fold_N: NDArray[np.integer[Any]]) -> Iterator[Fold]:
    """Return the five ways to divide showers, by the number of the fold they are in."""
    for number in range(N_FOLDS):
        test, validation = fold_N == number, fold_N == (number + 1) % N_FOLDS
        parts = (~test & ~validation, validation, test)
        yield Fold(number, *(np.flatnonzero(part) for part in parts))


def check_folds(fold_N: NDArray[np.integer[Any]], sample: str) -> None:
    """Raise CaloforgeError where a sample has too few showers in one of the folds."""
    fewest = int(np.bincount(fold_N, minlength=N_FOLDS).min())
    if fewest < MIN_IN_FOLD:
        raise CaloforgeError(
            f"{sample}: expected at least {MIN_IN_FOLD} showers in each of {N_FOLDS} parts, "
            f"found {fewest} of {len(fold_N)} in one"
        )
