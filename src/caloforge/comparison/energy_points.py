"""Where the verdict looks: points of incident energy, ranges of them, ranges of angle, and each particle.

Response, resolution and all else that depends on the energy are measured at points: at each energy of a
scan, or in narrow bins of a spectrum, of equal ratio where there are showers enough. Where showers are
few the bins are wider, and more points slide from one to the next, half a bin each. A fault too small to be
seen at one point may be seen in many: so each number is measured in ranges of neighbouring points, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.selections import MIN_SHOWERS, Selection, discrete_energies
from caloforge.foundations.units import DEGREE, GEV
from caloforge.showers import Conditions, name_of

__all__ = ["Places", "choose_places", "scan_or_span"]

N_BINS = 10
"""A spectrum is cut into so many bins of equal ratio."""

ENOUGH = 100
"""A bin of a spectrum is as wide as it must be to hold so many showers of each file, or an eighth of them."""

MIN_POINTS = 8
N_ANGLES = 5


@dataclass(frozen=True)
class Places:
    """``points`` of energy in increasing order, and ``ranges``: runs of 2, 4, 8, ... points, angles, and particles."""

    points: tuple[Selection, ...]
    ranges: tuple[Selection, ...]

    def __iter__(self) -> Iterator[Selection]:
        yield from (*self.points, *self.ranges)


def choose_places(*files: Conditions) -> Places:
    """Choose points and ranges that all files (the reference's conditions first) can fill.

    A spectrum has at least eight points if each file holds 160 showers of it.
    """
    scan = discrete_energies(files)
    if len(scan):
        edges = _halfway(scan)
        points = [
            _of_energy(low, high, f"{energy / GEV:.4g} GeV")
            for (low, high), energy in zip(pairwise(edges), scan, strict=True)
        ]
        return _places(files, points, points)
    edges = _spectrum_edges(files)
    bins = [_of_energy(low, high) for low, high in pairwise(edges)]
    points = list(bins)
    if 1 < len(bins) < MIN_POINTS:
        middles = np.sqrt(edges[1:] * edges[:-1])
        points += [_of_energy(low, high) for low, high in pairwise(middles)]
    return _places(files, sorted(points, key=lambda point: point.energy), bins)


def scan_or_span(conditions: Conditions) -> str:
    """Write the incident energies as ``simulate --energy`` takes them, in GeV.

    ``10,20,50`` for a scan, ``10:500`` for a spectrum, ``log:10:500`` for one that piles up at its low end.
    """
    scan = discrete_energies([conditions]) / GEV
    if len(scan):
        return ",".join(f"{energy:.4g}" for energy in scan)
    energy = conditions.incident_energy / GEV
    low, high = energy.min(), energy.max()
    piled_up = np.median(energy) < low + (high - low) / 4
    return f"{'log:' if piled_up else ''}{low:.3g}:{high:.3g}"


def _places(
    files: Sequence[Conditions], points: Sequence[Selection], bins: Sequence[Selection]
) -> Places:
    ranges, length = [], 2
    while length < len(bins):
        ends = zip(bins, bins[length - 1 :], strict=False)
        ranges += [_range(first, last) for first, last in ends]
        length *= 2
    found = [
        [place for place in some if all(place.mask(file).sum() >= MIN_SHOWERS for file in files)]
        for some in (points, [*ranges, *_angles(files), *_particles(files)])
    ]
    return Places(*map(tuple, found))


def _range(first: Selection, last: Selection) -> Selection:
    low, high = (place.title.removesuffix(" GeV").split(" to ") for place in (first, last))
    return Selection(
        f"{first.name}-{last.name}",
        f"{low[0]} to {high[-1]} GeV",
        "energy",
        energy=(first.energy[0], last.energy[1]),
    )


def _halfway(scan: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges half way, in ratio, between the energies of a scan."""
    if len(scan) == 1:
        return np.array([scan[0] / 1.1, scan[0] * 1.1])
    between = np.sqrt(scan[1:] * scan[:-1])
    first, last = scan[0] ** 2 / between[0], scan[-1] ** 2 / between[-1]
    return np.concatenate([[first], between, [last]])


def _spectrum_edges(files: Sequence[Conditions]) -> NDArray[np.float64]:
    """Return edges of a spectrum's bins, MeV; none where few showers are in the range that all files share.

    The bins have one ratio, a smaller one where too few points would come of it, and are wider
    where they must be to hold enough.
    """
    energies = [np.sort(file.incident_energy.astype(np.float64)) for file in files]
    low, high = max(e[0] for e in energies), min(e[-1] for e in energies)
    inside = [e[(e >= low) & (e <= high)] for e in energies]
    enough = min(ENOUGH, min(map(len, inside)) // MIN_POINTS)
    if low >= high or enough < MIN_SHOWERS:
        return np.zeros(0)
    for n_bins in N_BINS * 2 ** np.arange(6):
        edges = _filled_edges(inside, (high / low) ** (1 / n_bins), enough)
        if 2 * (len(edges) - 1) > MIN_POINTS:  # with those that slide
            break
    edges[-1] = high * (1 + 1e-9)
    return np.array(edges)


def _filled_edges(inside: Sequence[NDArray[np.float64]], ratio: float, enough: int) -> list[float]:
    """Return edges of bins that have a ratio, or a larger one until they hold enough of each file."""
    edges, high = [min(e[0] for e in inside)], max(e[-1] for e in inside)
    while edges[-1] < high:
        filled = [int(np.searchsorted(e, edges[-1])) + enough for e in inside]
        holds = max(
            e[place] if place < len(e) else high for e, place in zip(inside, filled, strict=True)
        )
        edges.append(max(edges[-1] * ratio, holds))
    edges[-1] = high
    if len(edges) > 2 and min(int((e >= edges[-2]).sum()) for e in inside) < enough:
        del edges[-2]
    return edges


def _of_energy(low: float, high: float, title: str = "") -> Selection:
    digits = 3 if high > 1.02 * low else 6
    title = title or f"{low / GEV:.{digits}g} to {high / GEV:.{digits}g} GeV"
    return Selection(
        f"E{title.replace(' to ', '-').replace(' ', '')}",
        title,
        "energy",
        energy=(low, high),
    )


def _angles(files: Sequence[Conditions]) -> Iterator[Selection]:
    low, high = (f([f(file.incident_theta) for file in files]) for f in (np.min, np.max))
    if high - low < 1 * DEGREE:
        return
    for first, last in pairwise(np.linspace(low, high * (1 + 1e-6), N_ANGLES + 1)):
        title = f"{first / DEGREE:.3g}° to {last / DEGREE:.3g}° incident"
        name = f"theta{first / DEGREE:.3g}-{last / DEGREE:.3g}deg"
        yield Selection(name, title, "window", theta=(float(first), float(last)))


def _particles(files: Sequence[Conditions]) -> Iterator[Selection]:
    """Return each particle where there are several: only showers of one kind are like each other."""
    found = np.unique(np.concatenate([file.particle for file in files]))
    for pdg in map(int, found if len(found) > 1 else ()):
        yield Selection(f"particle{pdg}", f"{name_of(pdg)} alone", "window", pdg_id=pdg)
