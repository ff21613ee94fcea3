"""Does a sample repeat showers? A test that finds noisy copies among honest showers.

A copy is far nearer to one shower of a library than to all others; an independent shower is not, and
neither is that of a generator which is only blurred. The measure is the ratio d_1 / d_11 of a shower's
distances to the nearest and to the eleventh nearest of the library. The scale drops out, and a library
that itself holds up to ten likenesses of a shower hides nothing.

The distance is Hellinger's, of showers normalised to one: d² = 2 - 2 sum sqrt(p q). It asks where the
energy is, not how much, so a copy may be scaled, and small deposits count. Training augments showers with
the symmetries of the grid, and a mirrored copy is a copy: deposits in cells that these symmetries exchange
are added up first (:func:`orbits`), so that all images of a shower are at distance zero, and the matrix
product is several times smaller too. Nothing else is undone: a copy moved by a cell is not found.

Compare like with like (:func:`excess_p_value`): candidate to training showers with reference to training
showers; candidate to reference with reference to the rest of the reference; candidate to the rest of the
candidate with the same of the reference.
"""

from __future__ import annotations

from math import exp, lgamma

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError
from caloforge.observables.sparse_showers import SparseShowers

__all__ = ["excess_p_value", "nearest_ratio", "orbits", "self_ratio"]

Array = NDArray[np.float64]

NEIGHBOUR = 11
ZERO = 1e-3
"""A distance that float32 cannot tell from zero."""
VALUES_AT_ONCE = 1 << 24
LOWEST = (1, 3, 10)


def orbits(grid: Grid, *, tilted: bool) -> NDArray[np.intp]:
    """Return each cell the number of the set that the symmetries of a grid exchange it in, (cells,).

    At normal incidence these are both mirrors, the transpose where cells are square, and all
    rotations and mirrors of a cylinder; for particles ``tilted`` in the y-z plane the x mirror alone.
    """
    first, second, layer = np.indices(grid.shape).reshape(3, -1)
    if grid.cartesian:
        first = np.minimum(first, grid.shape[0] - 1 - first)
        if not tilted:
            second = np.minimum(second, grid.shape[1] - 1 - second)
            if grid.square:
                first, second = np.minimum(first, second), np.maximum(first, second)
    elif not tilted:
        second = np.zeros_like(second)
    flat = np.ravel_multi_index((first, second, layer), (max(grid.shape),) * 3)
    return np.asarray(np.unique(flat, return_inverse=True)[1], dtype=np.intp)


def nearest_ratio(showers: SparseShowers, library: SparseShowers, orbit_C: NDArray[np.intp]) -> Array:
    """Return the distance to the nearest of the library over that to the eleventh nearest, (N,).

    Zero for an exact copy, even if the library holds it often. Raises CaloforgeError if the library has
    fewer than two showers.
    """
    return _ratio(showers, library, orbit_C, leave_out=False)


def self_ratio(showers: SparseShowers, orbit_C: NDArray[np.intp]) -> Array:
    """Return the same for each shower with the others of its own sample as the library, (N,)."""
    return _ratio(showers, showers, orbit_C, leave_out=True)


def _ratio(
    showers: SparseShowers, library: SparseShowers, orbit_C: NDArray[np.intp], *, leave_out: bool
) -> Array:
    usable = len(library) - leave_out
    if usable < 2:
        raise CaloforgeError(f"library: expected at least 2 showers to compare with, found {usable}")
    place = min(NEIGHBOUR, usable) - 1
    n_orbits = int(orbit_C.max()) + 1
    step = max(1, VALUES_AT_ONCE // max(n_orbits, len(library)))
    ratio_N = np.empty(len(showers))
    for start in range(0, len(showers), step):
        rows = np.arange(start, min(start + step, len(showers)))
        own = _roots(showers.take(rows), orbit_C, n_orbits)
        overlap = np.empty((len(rows), len(library)), np.float32)
        for first in range(0, len(library), step):
            others = np.arange(first, min(first + step, len(library)))
            overlap[:, others] = own @ _roots(library.take(others), orbit_C, n_orbits).T
        if leave_out:
            overlap[np.arange(len(rows)), rows] = -1.0  # farther than any
        square = np.partition(2 - 2 * overlap, [0, place], axis=1)[:, [0, place]]
        near, far = np.sqrt(np.maximum(square, 0, dtype=np.float64)).T
        ratio_N[rows] = np.where(near < ZERO, 0.0, near / np.maximum(far, ZERO))
    return ratio_N


def _roots(hits: SparseShowers, orbit_C: NDArray[np.intp], n_orbits: int) -> NDArray[np.float32]:
    """Return the square roots of the showers normalised to one, (N, orbits); zero for an empty one."""
    sums = hits.sum(hits.deposits, orbit_C[hits.cells], n_orbits)
    total = sums.sum(axis=1, keepdims=True)
    return np.sqrt(sums / np.where(total > 0, total, 1.0)).astype(np.float32)


def excess_p_value(candidate_M: Array, baseline_N: Array) -> float:
    """Return the chance of so many small ratios if both sets came from the same source.

    Counts the candidate's ratios below the lowest, the third and the tenth lowest of the baseline. If
    all orders of the two sets are equally likely, the counts follow the negative hypergeometric law. The
    smallest of the three probabilities counts, times three (Bonferroni), so the p-value is conservative.
    """
    n, m = len(baseline_N), len(candidate_M)
    sorted_N = np.sort(baseline_N)
    chances = [
        _chance(int(np.count_nonzero(candidate_M <= sorted_N[k - 1])), k, m, n) for k in LOWEST if k <= n
    ]
    return min(1.0, len(chances) * min(chances))


def _chance(count: int, k: int, m: int, n: int) -> float:
    """Return the chance that ``count`` or more of m lie below the k-th lowest of n others."""

    def log_choose(a: int, b: int) -> float:
        return lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1)

    terms = (
        log_choose(c + k - 1, c) + log_choose(m - c + n - k, m - c) - log_choose(m + n, m)
        for c in range(count, m + 1)
    )
    return min(1.0, sum(exp(term) for term in terms))
