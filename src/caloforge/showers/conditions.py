"""What a shower is given: the incident particle's energy and direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import CaloforgeError

__all__ = [
    "ELECTRON",
    "MAX_INCIDENT_MEV",
    "MIN_INCIDENT_MEV",
    "NORMAL_INCIDENCE",
    "Conditions",
    "check_angles",
    "check_energies",
    "doubt_units",
    "require",
]

NORMAL_INCIDENCE = math.pi / 2
"""Incident angle (rad) of a particle that hits the calorimeter's face at a right angle."""

ELECTRON = 11
"""PDG id of the electron."""

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


def require(good_N: NDArray[np.bool_], name: str, expected: str, values: NDArray[Any]) -> None:
    """Raise CaloforgeError naming the first shower whose value of the field ``name`` is not good."""
    if not good_N.all():
        shower = int(np.argmin(good_N))
        raise CaloforgeError(f"field {name}: expected {expected}, shower {shower} has {values[shower]}")
