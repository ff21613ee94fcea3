"""Which showers a comparison looks at together: all of them, bins of energy, windows of angle."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Conditions
from caloforge.units import DEGREE, GEV

__all__ = ["INCLUSIVE", "MIN_SHOWERS", "Selection", "choose_selections"]

MIN_SHOWERS = 20
"""A selection with fewer showers in either file is said to be thin, and not drawn or counted."""

N_ENERGY_BINS = 5
MAX_DISCRETE = 12
"""Up to this many different incident energies count as a discrete set, a bin each."""

PUBLISHED_GEV = (50, 100, 200, 250, 300, 400, 500)
PUBLISHED_DEGREES = (62, 90, 118)
HALF_WINDOW = 5
"""Published windows are +-5 GeV and +-5 degrees wide."""


@dataclass(frozen=True)
class Selection:
    """Showers with incident energy and angle within bounds (MeV, rad; low <= value < high).

    ``kind``: "all"; "energy" for the bins that tile the common range of energies, over which the
    numbers are averaged; "window" for the published windows, which are drawn besides.
    """

    name: str
    title: str
    kind: Literal["all", "energy", "window"]
    energy: tuple[float, float] = (0.0, np.inf)
    theta: tuple[float, float] = (0.0, np.inf)

    def mask(self, conditions: Conditions) -> NDArray[np.bool_]:
        """Tell which showers belong, (N,)."""
        energy, theta = conditions.incident_energy, conditions.incident_theta
        return (
            (energy >= self.energy[0])
            & (energy < self.energy[1])
            & (theta >= self.theta[0])
            & (theta < self.theta[1])
        )


INCLUSIVE = Selection("all", "all energies", "all")


def choose_selections(
    reference: Conditions, candidate: Conditions
) -> tuple[tuple[Selection, ...], tuple[tuple[Selection, int, int], ...]]:
    """Choose what to compare from the two files' conditions.

    Gives the selections with at least :data:`MIN_SHOWERS` showers in both files, the inclusive one
    first, and the thin ones with their numbers of showers. Energy bins are five of equal width over
    the range that both files cover (fewer for few showers), or one for each value when the energies
    are discrete; the published windows come besides.
    """
    wanted = [*_energy_bins(reference, candidate), *_windows(reference, candidate)]
    kept, thin = [INCLUSIVE], []
    for selection in wanted:
        n_reference, n_candidate = (int(selection.mask(c).sum()) for c in (reference, candidate))
        if min(n_reference, n_candidate) >= MIN_SHOWERS:
            kept.append(selection)
        elif max(n_reference, n_candidate) > 0:
            thin.append((selection, n_reference, n_candidate))
    return tuple(kept), tuple(thin)


def _energy_bins(reference: Conditions, candidate: Conditions) -> list[Selection]:
    energies = (reference.incident_energy, candidate.incident_energy)
    values = _distinct(np.concatenate(energies))
    if len(values) <= MAX_DISCRETE:
        middles = (values[:-1] + values[1:]) / 2
        edges = [0.0, *middles, np.inf]
        return [
            Selection(f"E{v / GEV:.4g}GeV", f"{v / GEV:.4g} GeV", "energy", (float(a), float(b)))
            for v, a, b in zip(values, edges[:-1], edges[1:], strict=True)
        ]
    low = float(max(e.min() for e in energies))
    high = float(min(e.max() for e in energies))
    if low >= high:
        return []
    inside = min(int(((e >= low) & (e <= high)).sum()) for e in energies)
    n_bins = int(np.clip(inside // (2 * MIN_SHOWERS), 1, N_ENERGY_BINS))
    edges_GeV = np.linspace(low / GEV, high / GEV, n_bins + 1)
    if high - low > 10 * n_bins * GEV:  # whole GeV read better and lose no shower
        edges_GeV = np.round(edges_GeV)
        edges_GeV[[0, -1]] = np.floor(low / GEV), np.ceil(high / GEV)
    else:
        edges_GeV[-1] *= 1 + 1e-6
    return [
        Selection(
            f"E{a:.4g}-{b:.4g}GeV", f"{a:.4g} to {b:.4g} GeV", "energy", (float(a * GEV), float(b * GEV))
        )
        for a, b in pairwise(edges_GeV)
    ]


def _windows(reference: Conditions, candidate: Conditions) -> list[Selection]:
    windows = []
    energies = np.concatenate([reference.incident_energy, candidate.incident_energy])
    if len(_distinct(energies)) > MAX_DISCRETE:
        windows += [
            Selection(
                f"E{centre}GeV_window",
                f"{centre} ± {HALF_WINDOW} GeV",
                "window",
                energy=((centre - HALF_WINDOW) * GEV, (centre + HALF_WINDOW) * GEV),
            )
            for centre in PUBLISHED_GEV
        ]
    theta = np.concatenate([reference.incident_theta, candidate.incident_theta])
    if np.ptp(theta) > 2 * HALF_WINDOW * DEGREE:
        windows += [
            Selection(
                f"theta{centre}deg_window",
                f"{centre} ± {HALF_WINDOW}° incident",
                "window",
                theta=((centre - HALF_WINDOW) * DEGREE, (centre + HALF_WINDOW) * DEGREE),
            )
            for centre in PUBLISHED_DEGREES
        ]
    return windows


def _distinct(energies: NDArray[Any]) -> NDArray[Any]:
    """Different energies, equal within 0.1 %, in order."""
    values = np.unique(energies)
    return np.asarray(values[np.concatenate([[True], np.diff(values) > 1e-3 * values[1:]])])
