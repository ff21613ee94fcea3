"""Ranges of conditions: those on which a model was trained, or for which it is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.showers.conditions import ELECTRON, IN_Y_Z, NORMAL_INCIDENCE, Conditions

__all__ = ["Domain", "Range"]

Range = tuple[float, float]

NORMAL_WITHIN_RAD = math.radians(0.5)
"""Angles this near to pi/2 are normal: an axis moves by less than a mm on its way through 100 mm."""

ON_AXIS_MM = 1e-3


@dataclass(frozen=True)
class Domain:
    """The lowest and highest of each of some showers' conditions: energies in MeV, angles in rad, impact points in mm.

    ``phi_rad`` is that of showers which are not at normal incidence, where it means nothing; ``impact_mm`` holds
    x and y, None where impact points are not known; ``pdg_ids`` are the particles.
    """

    energy_MeV: Range
    theta_rad: Range = (NORMAL_INCIDENCE, NORMAL_INCIDENCE)
    phi_rad: Range = (IN_Y_Z, IN_Y_Z)
    impact_mm: tuple[Range, Range] | None = None
    pdg_ids: tuple[int, ...] = (ELECTRON,)

    @classmethod
    def of(cls, conditions: Conditions) -> Domain:
        """Return that of at least one shower."""
        theta_N, impact_N2 = conditions.incident_theta, conditions.impact_xy
        phi_N = conditions.phi[np.abs(theta_N - NORMAL_INCIDENCE) > NORMAL_WITHIN_RAD]
        return cls(
            _range(conditions.incident_energy),
            _range(theta_N),
            _range(phi_N) if len(phi_N) else (IN_Y_Z, IN_Y_Z),
            None if impact_N2 is None else (_range(impact_N2[:, 0]), _range(impact_N2[:, 1])),
            tuple(sorted(map(int, np.unique(conditions.particle)))),
        )

    @property
    def tilted(self) -> bool:
        """Whether any shower comes at another angle than a right one."""
        return max(abs(theta - math.pi / 2) for theta in self.theta_rad) > NORMAL_WITHIN_RAD

    @property
    def on_axis(self) -> bool:
        """Whether all showers enter in the middle of the central cell, or on a cylinder's axis; also if nothing else is known."""
        ends = [abs(end) for ends in self.impact_mm or () for end in ends]
        return max(ends, default=0.0) < ON_AXIS_MM

    def __or__(self, other: Domain) -> Domain:
        """Return what holds both."""
        impact_mm = None
        if self.impact_mm and other.impact_mm:
            (x, y), (other_x, other_y) = self.impact_mm, other.impact_mm
            impact_mm = _both(x, other_x), _both(y, other_y)
        return Domain(
            _both(self.energy_MeV, other.energy_MeV),
            _both(self.theta_rad, other.theta_rad),
            _both(self.phi_rad, other.phi_rad),
            impact_mm,
            tuple(sorted({*self.pdg_ids, *other.pdg_ids})),
        )


def _both(one: Range, other: Range) -> Range:
    return min(one[0], other[0]), max(one[1], other[1])


def _range(values: NDArray[Any]) -> Range:
    return float(values.min()) + 0.0, float(values.max()) + 0.0  # no -0.0
