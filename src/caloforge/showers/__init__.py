"""Showers with their conditions: what flows between the rooms of this package."""

from caloforge.showers.conditions import (
    ELECTRON,
    MAX_INCIDENT_MEV,
    MIN_INCIDENT_MEV,
    NORMAL_INCIDENCE,
    Conditions,
    check_angles,
    check_energies,
    doubt_units,
)
from caloforge.showers.showers import Showers

__all__ = [
    "ELECTRON",
    "MAX_INCIDENT_MEV",
    "MIN_INCIDENT_MEV",
    "NORMAL_INCIDENCE",
    "Conditions",
    "Showers",
    "check_angles",
    "check_energies",
    "doubt_units",
]
