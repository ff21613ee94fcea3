"""Showers with their conditions: what flows between the rooms of this package."""

from caloforge.showers.conditions import (
    ELECTRON,
    IN_Y_Z,
    MAX_INCIDENT_MEV,
    MIN_INCIDENT_MEV,
    NORMAL_INCIDENCE,
    Conditions,
    check_angles,
    check_energies,
    doubt_units,
    require_azimuths,
)
from caloforge.showers.domain import Domain
from caloforge.showers.particles import PARTICLES, name_of, parse_particles
from caloforge.showers.showers import Showers

__all__ = [
    "ELECTRON",
    "IN_Y_Z",
    "MAX_INCIDENT_MEV",
    "MIN_INCIDENT_MEV",
    "NORMAL_INCIDENCE",
    "PARTICLES",
    "Conditions",
    "Domain",
    "Showers",
    "check_angles",
    "check_energies",
    "doubt_units",
    "name_of",
    "parse_particles",
    "require_azimuths",
]
