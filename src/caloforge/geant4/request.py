"""What is to be simulated: every shower's conditions follow from the seed and its number alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from caloforge.detector import Detector
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import DEFAULT_SEED, MAX_SEED, stream, stream_seed
from caloforge.foundations.units import DEGREE, GEV, Spectrum
from caloforge.showers import MIN_INCIDENT_MEV

__all__ = ["Primary", "SimulationRequest"]

MAX_ENERGY_MEV = 1e8
"""Geant4's electromagnetic tables end at 100 TeV."""

THETA_RANGE = (1 * DEGREE, 179 * DEGREE)
"""Flatter electrons would graze the face instead of entering it."""

NORMAL = Spectrum("discrete", (math.pi / 2,))


@dataclass(frozen=True)
class Primary:
    """One electron: energy (MeV), angle (rad), impact point in the central cell (mm), Geant4's seed."""

    energy_MeV: float
    theta_rad: float
    impact_xy_mm: tuple[float, float]
    seed: int


@dataclass(frozen=True)
class SimulationRequest:
    """Which showers: the detector, their number, the spectra of energy (MeV) and angle (rad), a seed.

    Raises UsageError for values that Geant4 cannot take.
    """

    detector: Detector
    events: int
    energy: Spectrum
    theta: Spectrum = NORMAL
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        if self.events < 1:
            raise UsageError(f"--events: expected at least 1, got {self.events}")
        if not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed: expected 0 to {MAX_SEED}, got {self.seed}")
        if self.energy.low < MIN_INCIDENT_MEV:
            least, got = MIN_INCIDENT_MEV / GEV, self.energy.low / GEV
            raise UsageError(f"--energy: expected at least {least:g} GeV (1 keV), got {got:.4g}")
        if self.energy.high > MAX_ENERGY_MEV:
            limit, got = MAX_ENERGY_MEV / GEV, self.energy.high / GEV
            raise UsageError(f"--energy: expected at most {limit:g} GeV, got {got:g}")
        if not THETA_RANGE[0] <= self.theta.low <= self.theta.high <= THETA_RANGE[1]:
            low, high = self.theta.low / DEGREE, self.theta.high / DEGREE
            raise UsageError(
                f"--theta: expected angles from 1 to 179 degrees (90 is normal incidence), "
                f"got {low:g} to {high:g}"
            )

    def primary(self, index: int) -> Primary:
        """Draw the electron of shower ``index``; energy and angle are float32, as files hold them."""
        u = stream(self.seed, "simulate", index).random(4)
        dx, dy = self.detector.cell_size_mm or (0.0, 0.0)  # a cylinder lies around the particle
        return Primary(
            energy_MeV=float(np.float32(self.energy.quantile(u[:1])[0])),
            theta_rad=float(np.float32(self.theta.quantile(u[1:2])[0])),
            impact_xy_mm=(float((u[2] - 0.5) * dx), float((u[3] - 0.5) * dy)),
            seed=stream_seed(self.seed, "geant4", index),
        )

    def to_json(self) -> dict[str, Any]:
        """Return all that decides a shower; the number of showers does not."""
        return {
            "detector": self.detector.model_dump(mode="json", exclude_none=True),
            "seed": self.seed,
            "energy_MeV": self.energy.to_json(),
            "theta_rad": self.theta.to_json(),
        }
