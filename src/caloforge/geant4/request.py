"""What is to be simulated: every shower's conditions follow from the seed and its number alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.detector import Detector
from caloforge.files.primaries import read_primaries
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import DEFAULT_SEED, MAX_SEED, stream, stream_seed
from caloforge.foundations.units import DEGREE, GEV, Area, Spectrum
from caloforge.showers import (
    ELECTRON,
    IN_Y_Z,
    MIN_INCIDENT_MEV,
    PARTICLES,
    Conditions,
    Domain,
    Showers,
    name_of,
    require_azimuths,
)

__all__ = ["HADRONIC", "Primary", "SimulationRequest", "physics_beside"]

MAX_ENERGY_MEV = 1e8
"""Geant4's electromagnetic tables end at 100 TeV."""

THETA_RANGE = (1 * DEGREE, 179 * DEGREE)
"""Flatter particles would graze the face instead of entering it."""

NORMAL = Spectrum("discrete", (math.pi / 2,))
Y_Z_PLANE = Spectrum("discrete", (IN_Y_Z,))

STABLE, DECAYING = {11, -11, 22}, {13, -13, 111}
"""Primaries of electromagnetic physics alone, by PDG id, and those that also decay."""

HADRONIC = (
    "G4HadronElasticPhysics", "G4HadronPhysicsFTFP_BERT", "G4StoppingPhysics", "G4IonPhysics",
)  # fmt: skip
"""What FTFP_BERT has beside electromagnetic physics and decays: it needs data sets that cannot be computed here."""


def physics_beside(particles: Sequence[int]) -> tuple[str, ...]:
    """Name Geant4's constructors that these primaries need beside those of electromagnetic physics."""
    if STABLE.issuperset(particles):
        return ()
    hadrons = not (STABLE | DECAYING).issuperset(particles)
    return ("G4DecayPhysics", *(HADRONIC if hadrons else ()))


@dataclass(frozen=True)
class Primary:
    """One particle: energy (MeV), angles (rad), impact point in the central cell (mm), Geant4's seed, PDG id."""

    energy_MeV: float
    theta_rad: float
    impact_xy_mm: tuple[float, float]
    seed: int
    phi_rad: float = IN_Y_Z
    pdg_id: int = ELECTRON


@dataclass(frozen=True)
class SimulationRequest:
    """Which showers: the detector, their number, spectra of energy (MeV) and angles (rad), a seed, impact points, particles.

    Without an ``impact`` the points are uniform over the central cell, or on the axis of a cylinder. Of several ``particles`` (PDG ids) each shower
    has one, drawn evenly. ``overlay`` particles add up to one shower. See :meth:`listed` for primaries that are ``given``. Raises UsageError for values that Geant4 cannot take.
    """

    detector: Detector
    events: int
    energy: Spectrum
    theta: Spectrum = NORMAL
    seed: int = DEFAULT_SEED
    phi: Spectrum = Y_Z_PLANE
    impact: Area | None = None
    particles: tuple[int, ...] = (ELECTRON,)
    given: Conditions | None = field(default=None, compare=False)
    like: Path | None = None
    overlay: int = 1

    @classmethod
    def of(
        cls,
        detector: Detector,
        events: int | None,
        energy: Spectrum | None,
        *,
        theta: Spectrum | None = None,
        phi: Spectrum | None = None,
        impact: Area | None = None,
        particles: tuple[int, ...] | None = None,
        like: Path | Showers | None = None,
        overlay: int = 1,
        seed: int = DEFAULT_SEED,
    ) -> SimulationRequest:
        """Draw primaries from spectra, or take those of ``like``: a file, a list, showers. What is None is as usual.

        Raises UsageError where something is missing or does not apply, CaloforgeError for a damaged file.
        """
        if like is None:
            if energy is None or events is None:
                raise UsageError("--events and --energy: both are needed, or --like FILE")
            told = theta or NORMAL, seed, phi or Y_Z_PLANE, impact, particles or (ELECTRON,)
            return cls(detector, events, energy, *told, overlay=overlay)
        if any(told is not None for told in (energy, theta, phi, impact, particles)):
            raise UsageError(
                "--like: takes the primaries from the file; --energy, --theta, --phi, --impact and --particle do not apply"
            )
        if isinstance(like, Showers):
            return cls.listed(detector, like.conditions, events, seed, None, overlay)
        return cls.listed(detector, read_primaries(like)[0], events, seed, like, overlay)

    @classmethod
    def listed(
        cls,
        detector: Detector,
        given: Conditions,
        events: int | None,
        seed: int,
        like: Path | None,
        overlay: int = 1,
    ) -> SimulationRequest:
        """Take the primaries of a list, from a file ``like``, over and over if there are more events; the seed draws what it lacks."""
        if len(given) == 0:
            raise UsageError("--like: expected at least one shower to take conditions from")
        domain = Domain.of(given)
        events = max(1, len(given) // max(1, overlay)) if events is None else events
        # The spectra only say how far the list goes.
        energy, theta, phi = (
            Spectrum("discrete", span) for span in (domain.energy_MeV, domain.theta_rad, domain.phi_rad)
        )
        impact = None if domain.impact_mm is None else Area(*domain.impact_mm)
        return cls(
            detector, events, energy, theta, seed, phi, impact, domain.pdg_ids, given, like, overlay
        )

    @property
    def n_primaries(self) -> int:
        """How many particles are simulated."""
        return self.events * self.overlay

    def __post_init__(self) -> None:
        if self.overlay < 1:
            raise UsageError(f"--overlay: expected at least 1, got {self.overlay}")
        if strange := set(self.particles) - set(PARTICLES.values()):
            raise UsageError(
                f"--like: expected particles of {', '.join(PARTICLES)}, got {name_of(min(strange))}"
            )
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
        require_azimuths(self.phi)
        self._require_on_the_face()

    def _require_on_the_face(self) -> None:
        if self.impact is None:
            return
        sides = zip("xy", (self.impact.x_mm, self.impact.y_mm), self.face_mm, strict=True)
        for axis, (low, high), (least, most) in sides:
            if not least <= low <= high <= most:
                raise UsageError(
                    f"--impact: expected {axis} on the read-out image of {self.detector.name}, "
                    f"{least:g} to {most:g} mm, got {low:g} to {high:g}"
                )

    @property
    def face_mm(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where the read-out image begins and ends in x and in y, mm from its axis or the central cell's centre."""
        if (readout := self.detector.readout) is not None:
            radius = readout.rings * readout.ring_mm
            return (-radius, radius), (-radius, radius)
        x, y = (
            (-(n // 2 + 0.5) * size, (n - n // 2 - 0.5) * size)
            for n, size in zip(
                self.detector.across, self.detector.cell_size_mm or (0.0, 0.0), strict=True
            )
        )
        return x, y

    def primary(self, index: int) -> Primary:
        """Draw the particle of shower ``index``; energy and angles are float32, as files hold them."""
        u = stream(self.seed, "simulate", index).random(6)
        dx, dy = self.detector.cell_size_mm or (0.0, 0.0)  # a cylinder lies around the particle
        x, y = ((u[2] - 0.5) * dx, (u[3] - 0.5) * dy)
        if self.impact is not None:
            x, y = self.impact.quantile(u[2:4])
        seed = stream_seed(self.seed, "geant4", index)
        if self.given is not None:
            row = index % len(self.given)
            one = self.given[row : row + 1]
            if one.impact_xy is not None:
                x, y = one.impact_xy[0]
            energy, theta, phi = (
                float(column[0]) for column in (one.incident_energy, one.incident_theta, one.phi)
            )
            return Primary(energy, theta, (float(x), float(y)), seed, phi, int(one.particle[0]))
        return Primary(
            energy_MeV=float(np.float32(self.energy.quantile(u[:1])[0])),
            theta_rad=float(np.float32(self.theta.quantile(u[1:2])[0])),
            impact_xy_mm=(float(x), float(y)),
            seed=seed,
            phi_rad=float(np.float32(self.phi.quantile(u[4:5])[0])),
            pdg_id=self.particles[int(u[5] * len(self.particles))],
        )

    def spectra(self) -> dict[str, Any]:
        """Return what the primaries are drawn or taken from, JSON-ready; what is usual is not named."""
        if self.given is not None:
            digest = hashlib.sha256()
            for name, values in self.given.columns().items():
                digest.update(name.encode() + values.tobytes())
            named = {} if self.like is None else {"like": self.like.name}
            return {**named, "primaries": digest.hexdigest()}
        found: dict[str, Any] = {"energy_MeV": self.energy.to_json(), "theta_rad": self.theta.to_json()}
        if self.phi != Y_Z_PLANE:
            found["phi_rad"] = self.phi.to_json()
        if self.impact is not None:
            found["impact_mm"] = self.impact.to_json()
        if self.particles != (ELECTRON,):
            found["particles"] = ",".join(map(name_of, self.particles))
        return found

    def to_json(self) -> dict[str, Any]:
        """Return all that decides a shower; the number of showers does not."""
        return {
            "detector": self.detector.model_dump(mode="json", exclude_none=True),
            "seed": self.seed,
            **self.spectra(),
        }
