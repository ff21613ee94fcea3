"""What a shower is given: the incident particle, its energy, direction and impact point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.units import DEGREE, Spectrum

__all__ = [
    "ELECTRON",
    "IN_Y_Z",
    "MAX_INCIDENT_MEV",
    "MIN_INCIDENT_MEV",
    "NORMAL_INCIDENCE",
    "PHOTON",
    "Conditions",
    "check_angles",
    "check_azimuths",
    "check_energies",
    "doubt_units",
    "require",
    "require_azimuths",
]

NORMAL_INCIDENCE = math.pi / 2
"""Incident angle (rad) of a particle that hits the calorimeter's face at a right angle."""

IN_Y_Z = math.pi / 2
"""Azimuth (rad) of a direction in the y-z plane: what holds where nothing else is said."""

ELECTRON = 11
"""PDG id of the electron: the primary where nothing else is said."""

PHOTON = 22

MAX_INCIDENT_MEV = 1e9
"""A primary above 1,000 TeV is taken for a mistake in units."""

MIN_INCIDENT_MEV = 1e-3
"""No primary below 1 keV is simulated or generated: Geant4's electromagnetic physics ends there."""


def check_energies(energy_N: NDArray[Any], name: str = "incident_energy") -> None:
    """Raise CaloforgeError at the first energy that is not in (0, 1e9] MeV; ``name`` is the field."""
    good_N = (energy_N > 0) & (energy_N <= MAX_INCIDENT_MEV)
    require(good_N, name, "0 < E <= 1e9 MeV", energy_N)


def check_angles(theta_N: NDArray[Any], name: str = "incident_theta") -> None:
    """Raise CaloforgeError at the first angle that is not in (0, pi) rad; ``name`` is the field."""
    require((theta_N > 0) & (theta_N < math.pi), name, "0 < theta < pi rad", theta_N)


def check_azimuths(phi_N: NDArray[Any], name: str = "incident_phi") -> None:
    """Raise CaloforgeError at the first azimuth that is not in [-2 pi, 2 pi] rad; ``name`` is the field."""
    require(np.abs(phi_N) <= np.float32(2 * math.pi), name, "-2 pi <= phi <= 2 pi rad", phi_N)


def require_azimuths(phi: Spectrum) -> None:
    """Raise UsageError for a spectrum that goes beyond a whole turn."""
    low, high = phi.low / DEGREE, phi.high / DEGREE
    if not -360.0001 < low <= high < 360.0001:
        raise UsageError(f"--phi: expected -360 to 360 degrees, got {low:g} to {high:g}")


def doubt_units(deposit_MeV: float, energy_MeV: float) -> str:
    """Return a warning if more energy is deposited than came in, naming the unit that would explain it; else nothing."""
    if not deposit_MeV > energy_MeV > 0:
        return ""
    fraction = deposit_MeV / energy_MeV
    likely = {
        3: "deposits calibrated to the incident energy",
        1e3: "incident energies in GeV",
        1e6: "deposits in eV, or incident energies in TeV",
    }
    reason = next((text for most, text in likely.items() if fraction <= most), "other units")
    return f"sampling fraction {fraction:.4g}, above 1: most likely {reason}; expected deposits and energies in MeV"


@dataclass(frozen=True, eq=False)
class Conditions:
    """What each of N showers is given.

    ``incident_energy`` (N,) is kinetic, MeV; ``incident_theta`` (N,) is the angle to the face, rad, pi/2 at normal
    incidence; ``incident_phi`` (N,) the azimuth of the direction around the normal, rad: the particle flies along
    (cos theta cos phi, cos theta sin phi, sin theta). ``impact_xy`` (N, 2) is where its line meets the face, mm from the
    central cell's centre, ``pdg_id`` (N,) what it is. The last three are None where they are not told: then
    phi is pi/2 and the particle an electron (:attr:`phi`, :attr:`particle`), and the impact point is unknown.

    Raises CaloforgeError naming the field and the first shower whose value is impossible.
    """

    incident_energy: NDArray[np.float32]
    incident_theta: NDArray[np.float32]
    incident_phi: NDArray[np.float32] | None = None
    impact_xy: NDArray[np.float32] | None = None
    pdg_id: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        n = len(self.incident_energy)
        for name, values in self.columns().items():
            shape = (n, 2) if name == "impact_xy" else (n,)
            if values.shape != shape:
                raise CaloforgeError(f"field {name}: expected shape {shape}, got {values.shape}")
        check_energies(self.incident_energy)
        check_angles(self.incident_theta)
        if self.incident_phi is not None:
            check_azimuths(self.incident_phi)
        if self.impact_xy is not None:
            finite_N = np.asarray(np.isfinite(self.impact_xy).all(axis=1))
            require(finite_N, "impact_xy", "finite positions in mm", self.impact_xy)
        if self.pdg_id is not None:
            good_N = np.asarray((self.pdg_id >= -(1 << 31)) & (self.pdg_id < 1 << 31))
            require(good_N, "pdg_id", "whole numbers of 32 bits", self.pdg_id)

    @classmethod
    def of(
        cls,
        energy_MeV: object,
        theta_rad: object = None,
        phi_rad: object = None,
        impact_xy_mm: object = None,
        pdg_id: object = None,
    ) -> Conditions:
        """Build from anything array-like; a missing angle is pi/2, and a single value holds for every shower."""
        energy_N = np.atleast_1d(np.asarray(energy_MeV, np.float32))
        theta = NORMAL_INCIDENCE if theta_rad is None else theta_rad

        def column(value: object, kind: type[Any], *tail: int) -> NDArray[Any]:
            array = np.asarray(value, kind)
            single = array.shape == tail
            return np.broadcast_to(array, (*energy_N.shape, *tail)).copy() if single else array

        return cls(
            energy_N,
            column(theta, np.float32),
            None if phi_rad is None else column(phi_rad, np.float32),
            None if impact_xy_mm is None else column(impact_xy_mm, np.float32, 2),
            None if pdg_id is None else column(pdg_id, np.int32),
        )

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the values that are told, by the name of the field."""
        return {name: values for name, values in vars(self).items() if values is not None}

    @property
    def phi(self) -> NDArray[np.float32]:
        """Azimuths (N,) in rad, pi/2 where they are not told."""
        phi_N = np.full(len(self), IN_Y_Z, np.float32)
        return phi_N if self.incident_phi is None else self.incident_phi

    @property
    def particle(self) -> NDArray[np.int32]:
        """PDG ids (N,), an electron's where they are not told."""
        return np.full(len(self), ELECTRON, np.int32) if self.pdg_id is None else self.pdg_id

    def overlaid(self, k: int) -> Conditions:
        """Put every ``k`` particles in a row into one: the sum of their energies, and their means weighted with these.

        What holds several particles has the PDG id 0: it is the shower of none.
        """
        energy_NK = self.incident_energy.astype(np.float64).reshape(-1, k)
        share_NK = energy_NK / energy_NK.sum(axis=1, keepdims=True)
        theta_NK, phi_NK = (
            angle.astype(np.float64).reshape(-1, k) for angle in (self.incident_theta, self.phi)
        )
        x_N, y_N, z_N = (
            (share_NK * part).sum(axis=1)
            for part in (
                np.cos(theta_NK) * np.cos(phi_NK),
                np.cos(theta_NK) * np.sin(phi_NK),
                np.sin(theta_NK),
            )
        )
        # Of one azimuth the angle to the face says on which side of the normal it lies.
        one_N = (phi_NK == phi_NK[:, :1]).all(axis=1)
        phi_N = np.where(one_N, phi_NK[:, 0], np.arctan2(y_N, x_N))
        theta_N = np.arctan2(z_N, x_N * np.cos(phi_N) + y_N * np.sin(phi_N))
        return Conditions.of(
            energy_NK.sum(axis=1),
            theta_N,
            phi_N,
            None
            if self.impact_xy is None
            else (share_NK[..., None] * self.impact_xy.reshape(-1, k, 2)).sum(axis=1),
            0 if k > 1 else self.particle,
        )

    def __len__(self) -> int:
        return len(self.incident_energy)

    def __getitem__(self, index: slice | NDArray[Any]) -> Conditions:
        return Conditions(**{name: values[index] for name, values in self.columns().items()})


def require(good_N: NDArray[np.bool_], name: str, expected: str, values: NDArray[Any]) -> None:
    """Raise CaloforgeError naming the first shower whose value of the field ``name`` is not good."""
    if not good_N.all():
        shower = int(np.argmin(good_N))
        raise CaloforgeError(f"field {name}: expected {expected}, shower {shower} has {values[shower]}")
