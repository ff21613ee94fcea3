"""Which showers a comparison looks at together: all of them, bins of energy, windows of angle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.units import DEGREE, GEV
from caloforge.showers import Conditions

__all__ = [
    "INCLUSIVE",
    "MIN_SHOWERS",
    "Selection",
    "choose_selections",
    "discrete_energies",
    "energy_edges",
]

MIN_SHOWERS = 20
"""A selection with fewer showers in either file is said to be thin, and not drawn or counted."""

N_ENERGY_BINS = 5
MAX_DISCRETE = 16
SAME_ENERGY = 1e-3
"""Up to 16 different incident energies (beyond 0.1 %) count as a discrete set, a bin each."""

PUBLISHED_GEV = (50, 100, 200, 250, 300, 400, 500)
PUBLISHED_DEGREES = (62, 90, 118)
PUBLISHED_RANGE_GEV = (100, 200)
HALF_WINDOW = 5
"""Published windows are +-5 GeV and +-5 degrees wide; those of angles also for 100 to 200 GeV alone."""


@dataclass(frozen=True)
class Selection:
    """Showers with incident energy and angle within bounds (MeV, rad; low <= value < high), of one particle if it is named.

    ``kind``: "all"; "energy" for the bins that tile the common range of energies, over which the
    numbers are averaged; "window" for the published windows, which are drawn besides.
    """

    name: str
    title: str
    kind: Literal["all", "energy", "window"]
    energy: tuple[float, float] = (0.0, np.inf)
    theta: tuple[float, float] = (0.0, np.inf)
    pdg_id: int | None = None

    def mask(self, conditions: Conditions) -> NDArray[np.bool_]:
        """Tell which showers belong, (N,)."""
        energy, theta = conditions.incident_energy, conditions.incident_theta
        wanted = True if self.pdg_id is None else conditions.particle == self.pdg_id
        return wanted & (
            (energy >= self.energy[0])
            & (energy < self.energy[1])
            & (theta >= self.theta[0])
            & (theta < self.theta[1])
        )


INCLUSIVE = Selection("all", "all energies", "all")


def choose_selections(
    *files: Conditions,
) -> tuple[tuple[Selection, ...], tuple[tuple[Selection, tuple[int, ...]], ...]]:
    """Choose what to compare from the files' conditions, the reference's first.

    Returns the selections with at least :data:`MIN_SHOWERS` showers in every file, the inclusive one
    first, and the thin ones with their numbers of showers. They are the bins of :func:`energy_edges`,
    at most five, and the published windows.
    """
    kept: list[Selection] = [INCLUSIVE]
    thin: list[tuple[Selection, tuple[int, ...]]] = []
    for selection in (*_energy_bins(files), *_windows(files)):
        counts = tuple(int(selection.mask(conditions).sum()) for conditions in files)
        if min(counts) >= MIN_SHOWERS:
            kept.append(selection)
        elif max(counts) > 0:
            thin.append((selection, counts))
    return tuple(kept), tuple(thin)


def energy_edges(*files: Conditions, max_bins: int) -> NDArray[np.float64]:
    """Return edges (MeV) of bins in incident energy that all files can fill; empty if they share none.

    Bins of equal width (of equal ratio for a log-uniform or falling spectrum) cover the common range,
    one for each 40 showers of the smallest file up to ``max_bins``; discrete energies get a bin each.
    """
    energies = [c.incident_energy.astype(np.float64) for c in files]
    values = discrete_energies(files)
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


def _energy_bins(files: Sequence[Conditions]) -> Iterator[Selection]:
    edges = energy_edges(*files, max_bins=N_ENERGY_BINS)
    values = discrete_energies(files) / GEV
    for index, (low, high) in enumerate(pairwise(edges)):
        if len(values):
            name = title = f"{values[index]:.4g} GeV"
        else:
            name, title = (
                f"{low / GEV:.4g}-{high / GEV:.4g}GeV",
                f"{low / GEV:.4g} to {high / GEV:.4g} GeV",
            )
        yield Selection(f"E{name.replace(' ', '')}", title, "energy", energy=(low, high))


def _windows(files: Sequence[Conditions]) -> Iterator[Selection]:
    if len(discrete_energies(files)) == 0:
        for centre in PUBLISHED_GEV:
            yield Selection(
                f"E{centre}GeV",
                f"{centre} ± {HALF_WINDOW} GeV",
                "window",
                energy=((centre - HALF_WINDOW) * GEV, (centre + HALF_WINDOW) * GEV),
            )
    if np.ptp(np.concatenate([c.incident_theta for c in files])) <= 2 * HALF_WINDOW * DEGREE:
        return
    low, high = PUBLISHED_RANGE_GEV
    for energy, name, title in (
        ((0.0, np.inf), "", ""),
        ((low * GEV, high * GEV), f"E{low}-{high}GeV_", f"{low} to {high} GeV, "),
    ):
        for centre in PUBLISHED_DEGREES:
            yield Selection(
                f"{name}theta{centre}deg",
                f"{title}{centre} ± {HALF_WINDOW}° incident",
                "window",
                energy=energy,
                theta=((centre - HALF_WINDOW) * DEGREE, (centre + HALF_WINDOW) * DEGREE),
            )


def discrete_energies(files: Sequence[Conditions]) -> NDArray[np.float64]:
    """Return the incident energies (MeV) if they are few values, each taken many times; else none."""
    energies = np.concatenate([c.incident_energy for c in files])
    values = np.unique(energies).astype(np.float64)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values) > SAME_ENERGY * values[1:]]))
    ends = np.concatenate([starts[1:] - 1, [len(values) - 1]])
    tight = bool((values[ends] < values[starts] * (1 + 2 * SAME_ENERGY)).all())
    few = len(starts) <= min(MAX_DISCRETE, len(energies) // 4)
    return values[starts] if tight and few else np.zeros(0)
