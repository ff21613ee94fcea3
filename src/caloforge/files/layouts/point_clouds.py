"""Point clouds in HDF5, as generators of points for highly granular calorimeters learn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Detector
from caloforge.files.hdf5 import field_names, numeric_dataset, read_rows, rows_per_read
from caloforge.files.layouts.formats import Fields, dataset_of
from caloforge.files.layouts.placing import Hits, angles_of, place, showers_at_once
from caloforge.files.shower_file import MAX_SHOWERS
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import GEV
from caloforge.showers import Showers, check_energies

__all__ = ["PointClouds"]

Array = NDArray[np.float64]


class PointClouds:
    """``events`` (N, points, 4): place and deposit in GeV, padded with zeros; ``energy`` (N, 1) of the incident particle in GeV.

    Of the three coordinates one is the layer, a number from 0 up, perhaps with a random fraction; the other two are mm.
    ``p_norm_local`` (3, N), where there is one, is the direction, its last component into the calorimeter. ``face`` is where
    primaries enter, in the file's coordinates. What it has is what :class:`~caloforge.files.layouts.formats.PublicFile` has.
    """

    layout = "points"
    fields: ClassVar[Fields] = {"events": (None, None, 4), "energy": (None, 1)}

    def __init__(
        self,
        path: Path,
        file: h5py.File,
        detector: Detector,
        face: Sequence[float] | None = None,
        particle: int | None = None,
    ) -> None:
        self.path, self.grid, self.outside_MeV = path, detector.grid, 0.0
        self._events = dataset_of(file, path, "events", self.fields["events"])
        n = self._count = len(self._events)
        if n > MAX_SHOWERS:
            raise CaloforgeError(
                f"{path}: field events: expected at most {MAX_SHOWERS} showers, found {n}"
            )
        energy = dataset_of(file, path, "energy", self.fields["energy"])
        if len(energy) != n:
            raise CaloforgeError(
                f"{path}: field energy: expected {n} rows as in events, found {len(energy)}"
            )
        self._energy_MeV = read_rows(energy, path, slice(None), np.float64).reshape(n) * GEV
        direction = np.broadcast_to([0.0, 0.0, 1.0], (n, 3))
        self._pdg_id, self.remarks = particle, list[str]()
        if particle is None:
            self.remarks.append(
                "the file does not say which particle: an electron, unless --particle does"
            )
        if "p_norm_local" in field_names(file, path):
            dataset = numeric_dataset(file, path, "p_norm_local", (3, n))
            direction = read_rows(dataset, path, slice(None), np.float64).T
        else:
            self.remarks.append("the file holds no direction: every shower has normal incidence")
        try:
            check_energies(self._energy_MeV, "energy")
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: {error}") from None
        if not (direction[:, 2] > 0).all():
            first = int(np.argmin(direction[:, 2] > 0))
            raise CaloforgeError(
                f"{path}: field p_norm_local: expected directions into the calorimeter, shower {first} has {direction[first]}"
            )
        self._theta, self._phi = angles_of(direction)
        self._depth = self._depth_axis()
        # The axes of the face follow in turn, as p_norm_local has them.
        self._across = [(self._depth + 1) % 3, (self._depth + 2) % 3]
        self._entry = np.array(face or (0.0, 0.0, 0.0), np.float64)[self._across]
        entry = ", ".join(
            f"{'xyz'[a]} = {value:g} mm" for a, value in zip(self._across, self._entry, strict=True)
        )
        self.remarks.append(f"layers are the points' {'xyz'[self._depth]}; primaries enter at {entry}")

    def _depth_axis(self) -> int:
        """Find the coordinate that is a layer of the detector for every point, and alone is."""
        fits = np.ones(3, bool)
        for _, _, places, _ in self._points():
            fits &= ((places >= 0) & (places < self.grid.n_layers)).all(axis=0)
        if fits.sum() != 1:
            found = " and ".join(axis for axis, fit in zip("xyz", fits, strict=True) if fit) or "none"
            raise UsageError(
                f"{self.path}: field events: expected one coordinate from 0 to {self.grid.n_layers}, the layers of "
                f"{self.grid.name}, found {found}"
            )
        return int(np.argmax(fits))

    def _points(self) -> Iterator[tuple[slice, NDArray[np.int64], Array, Array]]:
        """Read points that hold energy: the showers they are of, each one's number among these, its place and its MeV."""
        step = min(rows_per_read(self._events), showers_at_once(self.grid))
        for start in range(0, self._count, step):
            rows = slice(start, min(start + step, self._count))
            events = read_rows(self._events, self.path, rows, np.float64)
            shower, point = np.nonzero(events[:, :, 3])
            found = events[shower, point]
            good = np.isfinite(found).all(axis=1) & (found[:, 3] > 0)
            if not good.all():
                bad = int(np.argmin(good))
                raise CaloforgeError(
                    f"{self.path}: field events: expected finite places and deposits >= 0, shower {start + shower[bad]}, "
                    f"point {point[bad]} holds {found[bad]}"
                )
            yield rows, shower, found[:, :3], found[:, 3] * GEV

    def __len__(self) -> int:
        return self._count

    def chunks(self) -> Iterator[Showers]:
        """Read all showers, some at a time."""
        for rows, shower, places, energy in self._points():
            n = rows.stop - rows.start
            layer = np.floor(places[:, self._depth]).astype(np.int64)
            hits = Hits(n, shower, places[:, self._across] - self._entry, layer, energy)
            deposits, outside = place(hits, self.grid)
            self.outside_MeV += outside
            yield Showers(
                deposits=deposits,
                incident_energy=self._energy_MeV[rows].astype(np.float32),
                incident_theta=self._theta[rows],
                incident_phi=self._phi[rows],
                grid=self.grid,
                pdg_id=None if self._pdg_id is None else np.full(n, self._pdg_id, np.int32),
            )
