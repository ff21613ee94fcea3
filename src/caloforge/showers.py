"""Showers: the one thing that flows between the rooms of this package."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.errors import CaloforgeError, MissingExtraError

if TYPE_CHECKING:
    import awkward as ak

__all__ = [
    "ELECTRON",
    "MAX_INCIDENT_MEV",
    "NORMAL_INCIDENCE",
    "Conditions",
    "Showers",
    "check_angles",
    "check_energies",
]

NORMAL_INCIDENCE = math.pi / 2
"""Incident angle (rad) of a particle that hits the calorimeter's face at a right angle."""

ELECTRON = 11
"""PDG id of the electron."""

MAX_INCIDENT_MEV = 1e9
"""A primary above 1,000 TeV is taken for a mistake in units."""


def check_energies(energy_N: NDArray[Any], name: str = "incident_energy") -> None:
    """Raise CaloforgeError at the first energy that is not in (0, 1e9] MeV; ``name`` is the field."""
    good_N = (energy_N > 0) & (energy_N <= MAX_INCIDENT_MEV)
    _require(good_N, name, "0 < E <= 1e9 MeV", energy_N)


def check_angles(theta_N: NDArray[Any], name: str = "incident_theta") -> None:
    """Raise CaloforgeError at the first angle that is not in (0, pi) rad; ``name`` is the field."""
    _require((theta_N > 0) & (theta_N < math.pi), name, "0 < theta < pi rad", theta_N)


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a shower is given: kinetic energy (N,) in MeV and angle to the face (N,) in rad.

    Raises CaloforgeError naming the first shower whose energy is not in (0, 1e9] MeV or whose angle
    is not in (0, pi) rad.
    """

    incident_energy: NDArray[np.float32]
    incident_theta: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.incident_energy.ndim != 1 or self.incident_theta.shape != self.incident_energy.shape:
            raise CaloforgeError(
                "conditions: expected incident_energy (N,) and incident_theta (N,), got "
                f"{self.incident_energy.shape} and {self.incident_theta.shape}"
            )
        check_energies(self.incident_energy)
        check_angles(self.incident_theta)

    @classmethod
    def of(cls, energy_MeV: object, theta_rad: object = None) -> Conditions:
        """Build from anything array-like; a missing or single angle holds for every shower."""
        energy_N = np.atleast_1d(np.asarray(energy_MeV, dtype=np.float32))
        theta = NORMAL_INCIDENCE if theta_rad is None else theta_rad
        theta_N = np.asarray(theta, dtype=np.float32)
        if theta_N.ndim == 0:
            theta_N = np.full(energy_N.shape, theta_N, dtype=np.float32)
        return cls(energy_N, theta_N)

    def __len__(self) -> int:
        return len(self.incident_energy)

    def __getitem__(self, index: slice | NDArray[np.integer[Any]]) -> Conditions:
        return Conditions(self.incident_energy[index], self.incident_theta[index])


@dataclass(frozen=True, eq=False)
class Showers:
    """Deposits with their conditions, on one grid.

    Shapes and units: ``deposits`` (N, nx, ny, nz) MeV, on a cylindrical grid (N, nr, nphi, layers);
    ``incident_energy`` (N,) MeV; ``incident_theta`` (N,) rad, pi/2 is normal incidence;
    ``impact_xy`` (N, 2) mm from the central cell's centre and ``pdg_id`` (N,), both optional.
    ``provenance`` says where the showers come from (program, seed, physics tables, ...).

    Raises CaloforgeError when the shapes do not fit each other.
    """

    deposits: NDArray[np.float32]
    incident_energy: NDArray[np.float32]
    incident_theta: NDArray[np.float32]
    grid: Grid
    impact_xy: NDArray[np.float32] | None = None
    pdg_id: NDArray[np.int32] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.deposits)
        if self.deposits.shape != (n, *self.grid.shape):
            raise CaloforgeError(
                f"showers: expected deposits (N, {', '.join(map(str, self.grid.shape))}), "
                f"got {self.deposits.shape}"
            )
        wanted = {"incident_energy": (n,), "incident_theta": (n,), "impact_xy": (n, 2), "pdg_id": (n,)}
        for name, shape in wanted.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise CaloforgeError(f"field {name}: expected shape {shape}, got {values.shape}")
        Conditions(self.incident_energy, self.incident_theta)  # raises where a value is impossible
        if self.impact_xy is not None:
            good_N = np.asarray(np.isfinite(self.impact_xy).all(axis=1))
            _require(good_N, "impact_xy", "finite positions in mm", self.impact_xy)

    def __len__(self) -> int:
        return len(self.deposits)

    def __getitem__(self, index: slice | NDArray[Any]) -> Showers:
        return replace(
            self,
            deposits=self.deposits[index],
            incident_energy=self.incident_energy[index],
            incident_theta=self.incident_theta[index],
            impact_xy=None if self.impact_xy is None else self.impact_xy[index],
            pdg_id=None if self.pdg_id is None else self.pdg_id[index],
        )

    @property
    def conditions(self) -> Conditions:
        """Energies and angles alone: what a generator needs to make the like of these showers."""
        return Conditions(self.incident_energy, self.incident_theta)

    def above(self, threshold_MeV: float) -> Showers:
        """Set the cells below a read-out threshold to zero."""
        kept = np.where(self.deposits >= threshold_MeV, self.deposits, np.float32(0))
        return replace(self, deposits=kept)

    def observables(self) -> dict[str, NDArray[Any]]:
        """Compute every observable of :mod:`caloforge.physics.observables`, by name."""
        from caloforge.physics.observables import observables

        return observables(self)

    def to_awkward(self) -> ak.Array:
        """Give the hits as a jagged array: per shower ``x``, ``y``, ``z`` (cell) and ``energy`` (MeV).

        On a cylindrical grid the cell fields are called ``r``, ``phi``, ``layer``. Conditions are the
        fields ``incident_energy`` and ``incident_theta``. Raises MissingExtraError without awkward.
        """
        try:
            import awkward as ak
        except ImportError:
            raise MissingExtraError("to_awkward", "awkward") from None
        shower, *cell = np.nonzero(self.deposits)
        counts = np.bincount(shower, minlength=len(self))
        energy = self.deposits[(shower, *cell)]
        fields = dict(zip(self.grid.axes, cell, strict=True)) | {"energy": energy}
        hits = ak.zip({name: ak.unflatten(values, counts) for name, values in fields.items()})
        return ak.zip(
            {
                "hits": hits,
                "incident_energy": self.incident_energy,
                "incident_theta": self.incident_theta,
            },
            depth_limit=1,
        )


def _require(good_N: NDArray[np.bool_], name: str, expected: str, values: NDArray[Any]) -> None:
    if not good_N.all():
        shower = int(np.argmin(good_N))
        raise CaloforgeError(f"field {name}: expected {expected}, shower {shower} has {values[shower]}")
