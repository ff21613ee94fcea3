"""What the CaloChallenge's judges see of a shower: voxels, and observables of its layers.

Voxels are deposits over the incident energy, with log10 of that energy (MeV) beside them. The observables, in
their order: log10 of the incident energy; log10 of each layer's deposit, in MeV; each layer's centres along
eta and phi, then its widths along both; log10 of the total deposit; each layer's sparsity, the fraction of
empty voxels; each layer's centre and width in r. Lengths are in 100 mm, 1e-8 MeV keeps logarithms finite,
and a layer without deposit has centre and width 0.

On a cylinder eta and phi are r cos(alpha) and r sin(alpha) of a voxel's centre; layers of a single sector have
neither. On a Cartesian grid x and y take their place, and r is the distance from the central axis. Where a
file does not say how large its cells are, the unit of length is a cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.samples import CELLS_AT_ONCE, choose_kept
from caloforge.detector import Grid
from caloforge.files.held_showers import ShowerSource
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Progress, silent
from caloforge.observables.sparse_showers import SparseShowers

__all__ = ["MAX_SHOWERS", "Inputs", "layer_observables", "read_inputs"]

MAX_SHOWERS = 100_000
"""The published samples hold so many showers; of larger files so many are drawn."""

SMALLEST_MEV, EMPTY_MEV = 1e-8, 1e-16
LENGTH_MM = 100.0

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Inputs:
    """N showers: ``hits`` with deposits over the incident energy, ``log_energy_N``, ``observables_NF``."""

    hits: SparseShowers
    log_energy_N: Array
    observables_NF: Array

    def __len__(self) -> int:
        return len(self.log_energy_N)

    def take(self, rows: NDArray[np.integer[Any]]) -> Inputs:
        """Select showers, in the order of ``rows``."""
        return Inputs(self.hits.take(rows), self.log_energy_N[rows], self.observables_NF[rows])


def read_inputs(file: ShowerSource, grid: Grid, *, progress: Progress = silent) -> Inputs:
    """Read the showers of a file; ``grid`` says how (sizes, threshold). Raises CaloforgeError if it is damaged."""
    chosen, parts, done = choose_kept(len(file), MAX_SHOWERS), [], 0
    for showers in file.chunks(max(1, CELLS_AT_ONCE // grid.n_cells)):
        first, last = np.searchsorted(chosen, (done, done + len(showers)))
        seen = showers[chosen[first:last] - done].above(grid.threshold_MeV)
        hits, energy_N = SparseShowers.of(seen.deposits), seen.incident_energy.astype(np.float64)
        fractions = (hits.deposits / energy_N[hits.shower]).astype(np.float32)
        observables_NF = layer_observables(hits, energy_N, grid)
        parts.append((replace(hits, deposits=fractions), np.log10(energy_N), observables_NF))
        done += len(showers)
        progress(done, len(file))
    joined, energies, tables = zip(*parts, strict=True)
    return Inputs(SparseShowers.join(joined), np.concatenate(energies), np.concatenate(tables))


def layer_observables(hits: SparseShowers, energy_N: Array, grid: Grid) -> Array:
    """Return the observables of showers with hits in MeV and these incident energies (MeV): (N, F)."""
    places, voxels_Z, sectors_Z = _places(grid)
    n_layers, across_Z = grid.n_layers, sectors_Z > 1
    layer_H = hits.cells % n_layers
    deposit_NZ = hits.sum(hits.deposits, layer_H, n_layers)
    centres, widths = [], []
    for place_C in places:
        place_H = place_C[hits.cells]
        first_NZ, second_NZ = (
            hits.sum(hits.deposits * place_H**power, layer_H, n_layers) / (deposit_NZ + EMPTY_MEV)
            for power in (1, 2)
        )
        centres.append(first_NZ / LENGTH_MM)
        widths.append(np.sqrt(np.maximum(second_NZ - first_NZ**2, 0)) / LENGTH_MM)
    filled_NZ = hits.sum(np.ones(len(hits.cells)), layer_H, n_layers)
    table = (
        np.log10(energy_N)[:, None],
        np.log10(deposit_NZ + SMALLEST_MEV),
        *(lengths[:, across_Z] for lengths in (*centres[:2], *widths[:2])),
        np.log10(deposit_NZ.sum(axis=1, keepdims=True) + SMALLEST_MEV),
        1 - filled_NZ / voxels_Z,
        centres[2],
        widths[2],
    )
    return np.concatenate(table, axis=1)


def _places(grid: Grid) -> tuple[list[Array], Array, Array]:
    """Return x, y and r (mm) of the flattened cells, and each layer's numbers of voxels and of sectors."""
    n_first, n_second, n_layers = grid.shape
    if grid.cartesian:
        sizes = grid.cell_size or (1.0, 1.0)
        lines = ((np.arange(n) - n // 2) * size for n, size in zip(grid.shape, sizes, strict=False))
        x, y = (np.repeat(xy.ravel(), n_layers) for xy in np.meshgrid(*lines, indexing="ij"))
        each = np.full(n_layers, n_first * n_second, np.float64)
        return [x, y, np.hypot(x, y)], each, each
    r, alpha = np.zeros(grid.shape), np.zeros(grid.shape)
    counts = []
    for layer, (radii, n_sectors) in enumerate(_rings(grid)):
        r[: len(radii), :n_sectors, layer] = radii[:, None]
        alpha[:, :n_sectors, layer] = (np.arange(n_sectors) + 0.5) * 2 * math.pi / n_sectors - math.pi
        counts.append((len(radii) * n_sectors, n_sectors))
    voxels_Z, sectors_Z = np.array(counts, np.float64).T
    return [(r * np.cos(alpha)).ravel(), (r * np.sin(alpha)).ravel(), r.ravel()], voxels_Z, sectors_Z


def _rings(grid: Grid) -> Iterator[tuple[Array, int]]:
    """Return for each layer the radii (mm) of its rings' centres and its number of sectors.

    A file of data set 1 says of each layer how it is binned. Raises CaloforgeError where it cannot be so.
    """
    size = grid.cell_size[0] if grid.cell_size else 1.0
    edges = grid.extra.get(
        "r_edges_mm", [(size * np.arange(grid.shape[0] + 1)).tolist()] * grid.n_layers
    )
    bins = grid.extra.get("bins_per_layer", [list(grid.shape[:2])] * grid.n_layers)
    try:
        for edges_R, (n_rings, n_sectors) in zip(edges, bins, strict=True):
            edges_R = np.array(edges_R, np.float64)
            rising = len(edges_R) == n_rings + 1 and (np.diff(edges_R) > 0).all()
            if not rising or not (0 < n_rings <= grid.shape[0] and 0 < n_sectors <= grid.shape[1]):
                raise ValueError
            yield (edges_R[1:] + edges_R[:-1]) / 2, int(n_sectors)
        if len(edges) != grid.n_layers:
            raise ValueError
    except (TypeError, ValueError):
        raise CaloforgeError(
            f"detector {grid.name!r}, fields r_edges_mm and bins_per_layer: expected rising edges, and numbers of "
            f"rings and sectors, of each of {grid.n_layers} layers"
        ) from None
