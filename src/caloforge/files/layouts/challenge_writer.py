"""Showers in the CaloChallenge's own layout: what :class:`~caloforge.files.layouts.formats.CaloChallenge` reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from caloforge.detector import Grid
from caloforge.detector.positions import first_azimuth_rad
from caloforge.files.hit_files import HitWriter
from caloforge.files.layouts.binning import REGULAR, binning_by_size
from caloforge.files.shower_writer import CHUNK_BYTES, reserve
from caloforge.foundations.errors import UsageError
from caloforge.showers import ELECTRON, NORMAL_INCIDENCE, Showers

__all__ = ["ChallengeWriter"]


class ChallengeWriter(HitWriter):
    """Writes ``showers`` (N, voxels) and ``incident_energies`` (N, 1), float32 in MeV, in the official order.

    Raises UsageError for a grid that is not data set 2's or 3's, and for what the layout has no place for.
    """

    def __init__(self, path: str | Path, grid: Grid, provenance: Mapping[str, Any]) -> None:
        super().__init__(path, grid, provenance)
        binning = binning_by_size(grid.n_cells, self.path) if grid.n_cells in REGULAR else None
        if binning is None or not _alike(binning.grid(), grid):
            raise UsageError(
                f"{path}: layout calochallenge: expected the cells of calochallenge-2 or calochallenge-3, phi from -pi on, "
                f"got those of {grid.name}"
            )
        self._cells = binning.cells()

    def _open(self, stack: ExitStack, temporary: Path) -> None:
        temporary.touch()
        self._temporary, n_voxels = temporary, len(self._cells)
        reserve(temporary, None, 0)
        self._file = stack.enter_context(h5py.File(temporary, "w", locking=False))
        rows = max(1, CHUNK_BYTES // (4 * n_voxels))
        for name, width in (("showers", n_voxels), ("incident_energies", 1)):
            self._file.create_dataset(
                name, (0, width), np.float32, chunks=(rows, width), maxshape=(None, width), compression=1
            )

    def _write(self, showers: Showers) -> None:
        self._check(showers)
        flat = showers.deposits.reshape(-1, self.grid.n_cells)[:, self._cells]
        reserve(self._temporary, self._file, flat.nbytes)
        for name, values in (("showers", flat), ("incident_energies", showers.incident_energy[:, None])):
            dataset = self._file[name]
            dataset.resize(self._length + len(showers), axis=0)
            dataset[self._length :] = values

    def _check(self, showers: Showers) -> None:
        """Refuse showers whose conditions the layout cannot tell."""
        for name, values, only in (
            ("incident_theta", showers.incident_theta, NORMAL_INCIDENCE),
            ("impact_xy", showers.impact_xy, 0),
            ("pdg_id", showers.pdg_id, ELECTRON),
        ):
            if values is not None and not np.allclose(values, only, rtol=0, atol=1e-6):
                raise UsageError(
                    f"{self.path}: layout calochallenge holds energies alone: expected {name} {only:g} of every shower"
                )

    def _finish(self) -> None:
        super()._finish()
        self._file.attrs["provenance"] = json.dumps(self.provenance, allow_nan=False)


def _alike(official: Grid, grid: Grid) -> bool:
    """Tell whether cells have the same places; a grid that does not know its cells' size is believed."""
    sizes = grid.cell_size or official.cell_size
    return (
        official.same_cells(grid)
        and np.allclose(sizes or (), official.cell_size or ())
        and math.isclose(first_azimuth_rad(grid), -math.pi)
    )
