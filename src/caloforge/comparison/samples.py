"""One pass over a shower file, of any size, to the sums that a comparison needs.

What is kept of a file: each shower's conditions, its observables of one value and its profiles (float32); the sums of
every observable, spectrum included, by selection and by group; and of at most 20,000
showers, drawn at random but always the same, everything: observables along an axis, and all hits. Every shower
belongs to one of twenty groups at random, so that a comparison can be made again without one group,
or of one half of a sample with the other: errors and floors of any number follow from that (see
:mod:`caloforge.comparison.differences`). Showers at the same place in two files share a group, so where
the files hold the same conditions in the same order the errors know it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.selections import Selection
from caloforge.detector import Grid
from caloforge.files.held_showers import ShowerSource
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream
from caloforge.observables.definitions import observables
from caloforge.observables.sparse_showers import SparseShowers
from caloforge.showers import Conditions

__all__ = [
    "CELLS_AT_ONCE",
    "MAX_KEPT",
    "N_GROUPS",
    "Sample",
    "Summary",
    "accumulate",
    "assign_groups",
    "choose_kept",
    "keep_hits",
]

N_GROUPS = 20
MAX_KEPT = 20_000
"""So many showers of a file are kept whole, for what needs cells or correlations of cells."""

CELLS_AT_ONCE = 1 << 24
"""A chunk of showers takes about 64 MiB, and a few times that while it is worked on."""

Array = NDArray[np.float64]


def assign_groups(n_showers: int, n_groups: int) -> NDArray[np.int64]:
    """Put showers into groups of equal size (within one), at random but always the same way."""
    n_blocks = -(-n_showers // n_groups)
    blocks = np.tile(np.arange(n_groups), (n_blocks, 1))
    return stream(0, "validate", "groups").permuted(blocks, axis=1).ravel()[:n_showers]


def choose_kept(n_showers: int, most: int = MAX_KEPT) -> NDArray[np.int64]:
    """Choose the showers that are kept whole, at random but always the same way; indices in order."""
    return np.sort(stream(0, "validate", "kept").permutation(n_showers)[:most])


def keep_hits(file: ShowerSource, grid: Grid) -> SparseShowers:
    """Read the hits of the showers of a file that are kept, and nothing else.

    Raises CaloforgeError where the file is damaged.
    """
    kept, hits, done = choose_kept(len(file)), [], 0
    for showers in file.chunks(max(1, CELLS_AT_ONCE // grid.n_cells)):
        first, last = np.searchsorted(kept, (done, done + len(showers)))
        hits.append(
            SparseShowers.of(showers.above(grid.threshold_MeV).deposits[kept[first:last] - done])
        )
        done += len(showers)
    return SparseShowers.join(hits)


@dataclass(frozen=True, eq=False)
class Summary:
    """Means of observables over a sample or a part of it, by selection.

    ``count_S`` showers; ``mean_SM``, ``spread_SM`` (standard deviation) and ``error_SM`` (of the
    mean) over the showers where an observable is defined; ``columns`` says which of M are whose.
    """

    count_S: Array
    mean_SM: Array
    spread_SM: Array
    error_SM: Array
    columns: dict[str, slice]

    def mean(self, name: str) -> Array:
        """Return the means of an observable, (S, n)."""
        return self.mean_SM[:, self.columns[name]]

    def error(self, name: str) -> Array:
        """Return the statistical errors of the means, (S, n)."""
        return self.error_SM[:, self.columns[name]]

    def spread(self, name: str) -> Array:
        """Return the spreads (standard deviations) over showers, (S, n)."""
        return self.spread_SM[:, self.columns[name]]


@dataclass(frozen=True, eq=False)
class Sample:
    """What is kept of a file: see the module's docstring.

    ``values`` and ``profiles`` (N, n) of all N showers by observable; ``vectors`` (K, n) and ``hits`` of those whose indices
    are ``kept`` (K,), in increasing order; sums by selection S, group G and column M, where ``columns``
    says which of M are whose.
    """

    grid: Grid
    conditions: Conditions
    selections: tuple[Selection, ...]
    group_N: NDArray[np.int64]
    values: dict[str, NDArray[np.float32]]
    profiles: dict[str, NDArray[np.float32]]
    kept: NDArray[np.int64]
    vectors: dict[str, NDArray[np.float32]]
    hits: SparseShowers
    columns: dict[str, slice]
    showers_SG: Array
    count_SGM: Array
    first_SGM: Array
    second_SGM: Array

    def __len__(self) -> int:
        return len(self.conditions)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.showers_SG.shape[1])

    @property
    def n_empty(self) -> int:
        """Showers without any deposit above the threshold."""
        return int(np.count_nonzero(self.values["hits"] == 0))

    def summary(self, groups: NDArray[np.bool_] | slice = slice(None)) -> Summary:
        """Average over the showers of some groups."""
        count_SM = self.count_SGM[:, groups].sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_SM = self.first_SGM[:, groups].sum(axis=1) / count_SM
            variance_SM = self.second_SGM[:, groups].sum(axis=1) / count_SM - mean_SM**2
            spread_SM = np.sqrt(np.maximum(variance_SM, 0) * count_SM / (count_SM - 1))
            error_SM = spread_SM / np.sqrt(count_SM)
        showers_S = self.showers_SG[:, groups].sum(axis=1)
        return Summary(showers_S, mean_SM, spread_SM, error_SM, self.columns)

    def histogram(self, name: str, edges: Array) -> Array:
        """Count showers in bins, by group (G, B); the outer bins hold what lies beyond them."""
        values = self.values[name]
        defined = np.isfinite(values)
        n_bins = len(edges) - 1
        bin_N = np.clip(np.searchsorted(edges, values[defined], side="right") - 1, 0, n_bins - 1)
        counts = np.bincount(self.group_N[defined] * n_bins + bin_N, minlength=self.n_groups * n_bins)
        return counts.reshape(self.n_groups, n_bins).astype(np.float64)


def accumulate(
    file: ShowerSource,
    selections: Sequence[Selection],
    *,
    grid: Grid,
    n_groups: int = N_GROUPS,
    progress: Progress = silent,
) -> Sample:
    """Read a file once, in bounded memory; ``grid`` says how to read it (sizes, threshold).

    Raises CaloforgeError where the file is damaged.
    """
    n = len(file)
    group_N = assign_groups(n, n_groups)
    kept = choose_kept(n)
    hits: list[SparseShowers] = []
    vectors: dict[str, list[NDArray[np.float32]]] = {}
    masks_SN = np.array([selection.mask(file.conditions) for selection in selections])
    values: dict[str, list[NDArray[np.float32]]] = {}
    profiles: dict[str, list[NDArray[np.float32]]] = {}
    columns: dict[str, slice] = {}
    sums: list[Array] | None = None
    done = 0
    for showers in file.chunks(max(1, CELLS_AT_ONCE // grid.n_cells)):
        seen = replace(showers.above(grid.threshold_MeV), grid=grid)
        found = observables(seen)
        table_NM = _table(found, columns)
        rows = slice(done, done + len(seen))
        in_group_GN = np.arange(n_groups)[:, None] == group_N[rows]
        member_KN = (masks_SN[:, None, rows] & in_group_GN).reshape(-1, len(seen)).astype(np.float64)
        defined_NM = np.isfinite(table_NM)
        table_NM[~defined_NM] = 0.0
        pieces = (np.ones((len(seen), 1)), defined_NM.astype(np.float64), table_NM, table_NM**2)
        parts = [member_KN @ piece for piece in pieces]
        sums = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
        here = kept[np.searchsorted(kept, rows.start) : np.searchsorted(kept, rows.stop)] - rows.start
        hits.append(SparseShowers.of(seen.deposits[here]))
        for name, array in found.items():
            store, chosen = (values, array) if array.ndim == 1 else (vectors, array[here])
            store.setdefault(name, []).append(chosen.astype(np.float32))
            if name.startswith("profile_"):
                profiles.setdefault(name, []).append(array.astype(np.float32))
        done += len(seen)
        progress(done, n)
    assert sums is not None
    shape = (len(selections), n_groups, -1)
    showers_SG1, count_SGM, first_SGM, second_SGM = (part.reshape(shape) for part in sums)
    return Sample(
        grid=grid,
        conditions=file.conditions,
        selections=tuple(selections),
        group_N=group_N,
        values={name: np.concatenate(parts) for name, parts in values.items()},
        profiles={name: np.concatenate(parts) for name, parts in profiles.items()},
        kept=kept,
        vectors={name: np.concatenate(parts) for name, parts in vectors.items()},
        hits=SparseShowers.join(hits),
        columns=columns,
        showers_SG=showers_SG1[:, :, 0],
        count_SGM=count_SGM,
        first_SGM=first_SGM,
        second_SGM=second_SGM,
    )


def _table(found: dict[str, NDArray[Any]], columns: dict[str, slice]) -> Array:
    """Put all observables side by side (N, M) and note each one's columns."""
    pieces = [array.reshape(len(array), -1) for array in found.values()]
    start = 0
    for name, piece in zip(found, pieces, strict=True):
        columns[name] = slice(start, start + piece.shape[1])
        start += piece.shape[1]
    return np.asarray(np.concatenate(pieces, axis=1), dtype=np.float64)
