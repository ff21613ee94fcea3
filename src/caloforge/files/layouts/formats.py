"""The public layouts, each a class: its fields, their units, and how showers are read from them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from caloforge.detector.grid import CYLINDRICAL, Grid
from caloforge.files.hdf5 import MAX_CHUNK_BYTES, numeric_dataset, read_rows, rows_per_read
from caloforge.files.layouts.binning import binning_by_size, read_binning
from caloforge.files.shower_file import MAX_SHOWERS, check_deposits
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.units import GEV
from caloforge.showers import (
    ELECTRON,
    NORMAL_INCIDENCE,
    Conditions,
    Showers,
    check_angles,
    check_energies,
)

__all__ = [
    "LAYOUTS",
    "CaloChallenge",
    "Clic",
    "ClicAngle",
    "Fields",
    "Lemurs",
    "PublicFile",
    "dataset_of",
]

PHOTON = 22
CLIC_CELL_MM = (5.1, 5.1)

Fields = Mapping[str, tuple[int | None, ...]]


def dataset_of(file: h5py.File, path: Path, name: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
    """Get a dataset as :func:`numeric_dataset` does; a column may be (N,) or (N, 1), as its writer liked."""
    twins = {(None,): (None, 1), (None, 1): (None,)}
    if shape in twins:
        with suppress(CaloforgeError):
            return numeric_dataset(file, path, name, twins[shape])
    return numeric_dataset(file, path, name, shape)


class PublicFile(ABC):
    """A file in a public layout, open for reading.

    Attributes: ``path``; ``grid``; ``conditions`` of all showers; ``pdg_id`` of the primary;
    ``remarks``, a line each, on what the layout lacks or this package drops. Raises UsageError or
    CaloforgeError naming file and field where the file is not as its layout says.
    """

    layout: ClassVar[str]
    fields: ClassVar[Fields]
    """Shape of every dataset that is read; None is any length, the first one the showers'."""
    image: ClassVar[str] = "showers"
    energy: ClassVar[str]
    energy_unit_MeV: ClassVar[float] = 1.0
    theta: ClassVar[str | None] = None
    """Dataset with the angle in rad, pi/2 at normal incidence; None where every shower has that."""

    grid: Grid
    pdg_id: int = ELECTRON

    def __init__(self, path: Path, file: h5py.File, binning: Path | None = None) -> None:
        self.path = path
        self.remarks: list[str] = []
        self._data = {n: dataset_of(file, path, n, shape) for n, shape in self.fields.items()}
        for name, dataset in self._data.items():
            if len(dataset) != len(self) or len(dataset) > MAX_SHOWERS:
                raise CaloforgeError(
                    f"{path}: field {name}: expected {len(self)} rows as in {self.image}, and at most "
                    f"{MAX_SHOWERS}, found {len(dataset)}"
                )
        self._binning = binning
        self._open()
        energy_N = self._column(self.energy) * self.energy_unit_MeV
        theta_N = (
            np.full(len(self), NORMAL_INCIDENCE) if self.theta is None else self._column(self.theta)
        )
        try:
            check_energies(energy_N, self.energy)
            check_angles(theta_N, self.theta or "incident_theta")
            self.conditions = Conditions(energy_N.astype(np.float32), theta_N.astype(np.float32))
        except CaloforgeError as error:
            raise CaloforgeError(f"{path}: {error}") from None

    @abstractmethod
    def _open(self) -> None:
        """Set ``grid``, ``pdg_id`` and ``remarks``."""

    @abstractmethod
    def _deposits(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn checked rows of the image into deposits on the grid, in MeV; may write to ``image``."""

    def _column(self, name: str) -> NDArray[np.float64]:
        values = read_rows(self._data[name], self.path, slice(None), np.float64)
        return values[:, 0] if values.shape[1:] == (1,) else values

    def __len__(self) -> int:
        return int(self._data[self.image].shape[0])

    def chunks(self) -> Iterator[Showers]:
        """Read all showers, as many at a time as bounded memory holds, whether as stored or on their grid."""
        most = max(1, MAX_CHUNK_BYTES // (4 * self.grid.n_cells))
        step = min(most, rows_per_read(self._data[self.image]))
        for start in range(0, len(self), step):
            yield self.read(start, start + step)

    def read(self, start: int, stop: int) -> Showers:
        """Read showers ``start`` to ``stop`` and check every deposit."""
        rows = slice(start, min(stop, len(self)))
        image = read_rows(self._data[self.image], self.path, rows, np.float32)
        check_deposits(image, self.path, start, self.image)
        conditions = self.conditions[rows]
        return Showers(
            deposits=self._deposits(image),
            incident_energy=conditions.incident_energy,
            incident_theta=conditions.incident_theta,
            grid=self.grid,
            pdg_id=np.full(len(conditions), self.pdg_id, np.int32),
        )


class Clic(PublicFile):
    """CLIC calorimeter at normal incidence: ``ECAL`` in GeV, primary energy in GeV in target[:, 1].

    Cells below 1e-6 GeV are set to 0, as its authors do on reading.
    """

    layout = "clic"
    fields: ClassVar[Fields] = {"ECAL": (None, 25, 25, 25), "target": (None, None)}
    image = "ECAL"
    energy = "target"
    energy_unit_MeV = GEV
    threshold_GeV = 1e-6

    def _open(self) -> None:
        columns = self._data["target"].shape[1]
        if columns < 2:
            raise CaloforgeError(
                f"{self.path}: field target: expected 2 columns or more, found {columns}"
            )
        threshold = self.threshold_GeV * GEV
        self.grid = Grid("clic-ecal", (25, 25, 25), cell_size=CLIC_CELL_MM, threshold_MeV=threshold)
        self.remarks.append(f"cells below {threshold:g} MeV are set to 0")

    def _column(self, name: str) -> NDArray[np.float64]:
        return super()._column(name)[:, 1]

    def _deposits(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        image[image < self.threshold_GeV] = 0
        image *= GEV
        return image


class ClicAngle(PublicFile):
    """CLIC calorimeter at 60 to 120 degrees: ``ECAL`` holds 50 x GeV, ``energy`` GeV, ``theta`` rad."""

    layout = "clic-angle"
    fields: ClassVar[Fields] = {"ECAL": (None, 51, 51, 25), "energy": (None,), "theta": (None,)}
    image = "ECAL"
    energy = "energy"
    energy_unit_MeV = GEV
    theta = "theta"
    stored_per_GeV = 50

    def _open(self) -> None:
        self.grid = Grid("clic-ecal-angle", (51, 51, 25), cell_size=CLIC_CELL_MM)

    def _deposits(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        image *= GEV / self.stored_per_GeV
        return image


class Lemurs(PublicFile):
    """LEMURS (arXiv:2509.05108): photons in five detectors, on cylinders around the photon; MeV, rad.

    ``incident_theta`` is the polar angle to the axis of a barrel calorimeter, and the photon comes from
    that axis: pi/2 meets the face at a right angle, as everywhere in this package. The azimuth
    ``incident_phi`` turns around the barrel, not around the face's normal as that of a shower file.
    """

    layout = "lemurs"
    fields: ClassVar[Fields] = {
        "showers": (None, 9, 16, 45),
        "incident_energy": (None,),
        "incident_theta": (None,),
        "incident_phi": (None,),
    }
    energy = "incident_energy"
    theta = "incident_theta"
    pdg_id = PHOTON

    def _open(self) -> None:
        detector = re.match(r"LEMURS_([A-Za-z0-9]+)_", self.path.name)
        name = f"lemurs-{detector[1]}" if detector else "lemurs"
        self.grid = Grid(name, (9, 16, 45), axes=CYLINDRICAL)
        phi_N = self._column("incident_phi")
        if not np.isfinite(phi_N).all():
            raise CaloforgeError(f"{self.path}: field incident_phi: expected finite numbers")
        if len(phi_N):
            span = f"{phi_N.min():.4g} to {phi_N.max():.4g} rad"
            self.remarks.append(f"incident_phi ({span}) around the barrel is dropped")

    def _deposits(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return image


class CaloChallenge(PublicFile):
    """CaloChallenge (arXiv:2410.21611): flat ``showers`` and ``incident_energies`` (N, 1), both MeV.

    Voxels are placed as :class:`caloforge.files.layouts.binning.Binning` says: the layers of data sets 2
    and 3 are equal and fill their grid; those of data set 1 are not, and leave cells of it unused.
    """

    layout = "calochallenge"
    fields: ClassVar[Fields] = {"showers": (None, None), "incident_energies": (None, 1)}
    energy = "incident_energies"

    def _open(self) -> None:
        n_voxels = int(self._data["showers"].shape[1])
        if self._binning is None:
            bins = binning_by_size(n_voxels, self.path)
            self.remarks.append(f"binning of {bins.grid().name}, known by its {n_voxels} voxels")
        else:
            bins = read_binning(self._binning, n_voxels, self.path)
        self.grid, self.pdg_id = bins.grid(), bins.pdg_id
        self._cells = bins.cells()
        self.remarks.append("the layout holds no angle: every shower has normal incidence")
        if n_voxels < self.grid.n_cells:
            self.remarks.append(
                f"layers are binned unlike each other: {self.grid.n_cells - n_voxels} of "
                f"{self.grid.n_cells} cells stay 0"
            )

    def _deposits(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        deposits = np.zeros((len(image), self.grid.n_cells), np.float32)
        deposits[:, self._cells] = image
        return deposits.reshape(-1, *self.grid.shape)


LAYOUTS: dict[str, type[PublicFile]] = {c.layout: c for c in (Clic, ClicAngle, CaloChallenge, Lemurs)}
