"""Where the conditions of showers to generate come from: spectra, or the showers and lists of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.files.primaries import read_primaries
from caloforge.foundations.randomness import rows
from caloforge.foundations.units import Area, Spectrum
from caloforge.showers import (
    IN_Y_Z,
    NORMAL_INCIDENCE,
    Conditions,
    Domain,
    require_azimuths,
)

__all__ = ["ConditionSource", "asked", "drawn", "like_file", "uniform"]


@dataclass(frozen=True)
class ConditionSource:
    """Conditions of ``count`` showers, asked for piece by piece: ``piece(first, count)``.

    ``overlay`` particles make a shower: conditions are theirs.
    """

    count: int
    piece: Callable[[int, int], Conditions]
    domain: Domain
    provenance: dict[str, Any]
    inputs: tuple[Path, ...] = ()
    grid: Grid | None = None
    """Of the showers whose conditions these are, if they are somebody's."""
    overlay: int = 1

    def overlaid(self, k: int) -> ConditionSource:
        """Put every ``k`` particles in a row into one shower."""
        if k == 1:
            return self
        provenance = {**self.provenance, "overlay": k}
        return replace(self, count=max(1, self.count // k), provenance=provenance, overlay=k)


def asked(conditions: Conditions) -> Domain:
    """Return what conditions ask of a model: a particle only where it is told."""
    domain = Domain.of(conditions)
    return domain if conditions.pdg_id is not None else replace(domain, pdg_ids=())


def drawn(
    count: int,
    energy: Spectrum,
    theta: Spectrum | None,
    seed: int,
    *,
    phi: Spectrum | None = None,
    impact: Area | None = None,
    particles: tuple[int, ...] = (),
) -> ConditionSource:
    """Draw conditions from spectra (MeV, rad), an area and PDG ids, addressed by shower; what is not named is not told."""
    theta = theta or Spectrum("discrete", (NORMAL_INCIDENCE,))
    if phi:
        require_azimuths(phi)

    def piece(first: int, size: int) -> Conditions:
        u_N2 = rows(uniform, 2, first, size, seed, "conditions")
        v_N4 = rows(uniform, 4, first, size, seed, "azimuth, particle and place")
        return Conditions.of(
            energy.quantile(u_N2[:, 0]),
            theta.quantile(u_N2[:, 1]),
            phi and phi.quantile(v_N4[:, 0]),
            impact and impact.quantile(v_N4[:, 2:]),
            np.take(particles, (v_N4[:, 1] * len(particles)).astype(np.int64)) if particles else None,
        )

    told = {"phi_rad": phi, "impact_mm": impact}
    spectra = {"energy_MeV": energy.to_json(), "theta_rad": theta.to_json()}
    spectra |= {name: source.to_json() for name, source in told.items() if source}
    domain = Domain(
        (energy.low, energy.high),
        (theta.low, theta.high),
        (phi.low, phi.high) if phi else (IN_Y_Z, IN_Y_Z),
        (impact.x_mm, impact.y_mm) if impact else None,
        particles,
    )
    return ConditionSource(count, piece, domain, spectra)


def like_file(path: Path, count: int | None = None) -> ConditionSource:
    """Take all conditions from a shower file or a list of primaries, over and over if ``count`` asks for more."""
    conditions, grid = read_primaries(path)

    def piece(first: int, size: int) -> Conditions:
        return conditions[np.arange(first, first + size) % len(conditions)]

    return ConditionSource(
        len(conditions) if count is None else count,
        piece,
        asked(conditions),
        {"like": path.name},
        inputs=(path,),
        grid=grid,
    )


def uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw numbers between 0 and 1."""
    return generator.random(shape)
