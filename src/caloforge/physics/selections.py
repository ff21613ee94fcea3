"""Which showers a comparison looks at together: all of them, bins of energy, windows of angle."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Conditions
from caloforge.units import DEGREE, GEV

__all__ = ["INCLUSIVE", "MIN_SHOWERS", "Selection", "choose_selections", "energy_edges"]

MIN_SHOWERS = 20
"""A selection with fewer showers in either file is said to be thin, and not drawn or counted."""

N_ENERGY_BINS = 5
MAX_DISCRETE = 16
SAME_ENERGY = 1e-3
"""Up to 16 different incident energies (beyond 0.1 %) count as a discrete set, a bin each."""

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
    first, and the thin ones with their numbers of showers. They are the bins of :func:`energy_edges`,
    at most five, and the published windows.
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


def energy_edges(reference: Conditions, candidate: Conditions, max_bins: int) -> NDArray[np.float64]:
    """Give edges (MeV) of bins in incident energy that both files can fill; empty if they share none.

    Bins of equal width (of equal ratio for a log-uniform or falling spectrum) cover the common range,
    one for each 40 showers of the smaller file up to ``max_bins``; discrete energies get a bin each.
    """
    energies = [c.incident_energy.astype(np.float64) for c in (reference, candidate)]
    values = _discrete(reference, candidate)
    if len(values):
        # A bin reaches half way to its neighbours, the outer ones as far to the outside.
        half = np.diff(values) / 2 if len(values) > 1 else 0.1 * values
        middles = (values[:-1] + values[1:]) / 2
        return np.concatenate([values[:1] - half[0], middles, values[-1:] + half[-1]])
    low, high = max(e.min() for e in energies), min(e.max() for e in energies)
    if low >= high:
        return np.zeros(0)
    inside = min(int(((e >= low) & (e <= high)).sum()) for e in energies)
    n_bins = int(np.clip(inside // (2 * MIN_SHOWERS), 1, max_bins))
    # A spectrum that piles up at its low end (log-uniform, falling) gets bins of equal ratio.
    piled_up = np.median(energies[0]) < low + (high - low) / 4
    edges = (np.geomspace if piled_up else np.linspace)(low, high, n_bins + 1)
    edges[-1] *= 1 + 1e-6
    unit = 10.0 ** (np.floor(np.log10(edges)) - 2)
    rounded = np.round(edges / unit)
    rounded[0], rounded[-1] = np.floor(edges[0] / unit[0]), np.ceil(edges[-1] / unit[-1])
    smooth = np.all(np.abs(rounded * unit - edges)[1:] < 0.2 * np.diff(edges))
    return rounded * unit if smooth else edges


def _energy_bins(reference: Conditions, candidate: Conditions) -> list[Selection]:
    edges = energy_edges(reference, candidate, N_ENERGY_BINS)
    values = _discrete(reference, candidate) / GEV
    bins = []
    for index, (low, high) in enumerate(pairwise(edges)):
        if len(values):
            name = title = f"{values[index]:.4g} GeV"
        else:
            name, title = (
                f"{low / GEV:.4g}-{high / GEV:.4g}GeV",
                f"{low / GEV:.4g} to {high / GEV:.4g} GeV",
            )
        bins.append(Selection(f"E{name.replace(' ', '')}", title, "energy", energy=(low, high)))
    return bins


def _windows(reference: Conditions, candidate: Conditions) -> list[Selection]:
    windows = []
    if len(_discrete(reference, candidate)) == 0:
        windows += [
            Selection(
                f"E{centre}GeV",
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
                f"theta{centre}deg",
                f"{centre} ± {HALF_WINDOW}° incident",
                "window",
                theta=((centre - HALF_WINDOW) * DEGREE, (centre + HALF_WINDOW) * DEGREE),
            )
            for centre in PUBLISHED_DEGREES
        ]
    return windows


def _discrete(reference: Conditions, candidate: Conditions) -> NDArray[np.float64]:
    """Give the incident energies (MeV) if they are few values, each taken many times; else none."""
    energies = np.concatenate([reference.incident_energy, candidate.incident_energy])
    values = np.unique(energies).astype(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) > SAME_ENERGY * values[1:]]))
    ends = np.concatenate([starts[1:] - 1, [len(values) - 1]])
    tight = bool((values[ends] < values[starts] * (1 + 2 * SAME_ENERGY)).all())
    few = len(starts) <= min(MAX_DISCRETE, len(energies) // 4)
    return values[starts] if tight and few else np.zeros(0)
