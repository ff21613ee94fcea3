"""Known distortions of showers, each of a stated size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.units import GEV
from caloforge.showers import Showers

__all__ = ["DISTORTIONS", "Distortion", "gained", "relative_response"]

Array = NDArray[np.float64]


def gained(n_layers: int) -> int:
    """Return the layer whose gain is changed: near the maximum of most showers, the 10th of 25."""
    return 2 * n_layers // 5


def relative_response(showers: Showers) -> Array:
    """Return each shower's visible energy over that of showers of its incident energy, (N,): a cubic in log E."""
    visible = showers.deposits.sum(axis=(1, 2, 3), dtype=np.float64) / showers.incident_energy
    log_energy = np.log(showers.incident_energy.astype(np.float64))
    if np.ptp(log_energy) < 1e-3:
        return np.asarray(visible / visible.mean())
    curve = np.polynomial.Chebyshev.fit(log_energy, visible, 3)
    return np.asarray(visible / curve(log_energy))


def _scaled(showers: Showers, factor_N: Array) -> Showers:
    return replace(
        showers, deposits=(showers.deposits * factor_N[:, None, None, None]).astype(np.float32)
    )


def _below(showers: Showers, energy_GeV: float) -> NDArray[np.bool_]:
    return np.asarray(showers.incident_energy < energy_GeV * GEV)


def widen_resolution(showers: Showers, size: float, _: np.random.Generator) -> Showers:
    """Move each shower below 50 GeV away from the mean response, by a fraction of its distance."""
    relative = relative_response(showers)
    factor = (1 + (relative - 1) * (1 + size)) / relative
    return _scaled(showers, np.where(_below(showers, 50), np.clip(factor, 0, None), 1.0))


def lose_hits(showers: Showers, size: float, rng: np.random.Generator) -> Showers:
    """Drop a fraction of the hits below 20 GeV; the others take their energy over."""
    kept = rng.random(showers.deposits.shape) >= size
    kept[~_below(showers, 20)] = True
    left = showers.deposits * kept
    before, after = (d.sum(axis=(1, 2, 3), dtype=np.float64) for d in (showers.deposits, left))
    return _scaled(replace(showers, deposits=left), before / np.where(after > 0, after, 1.0))


def cut_tail(showers: Showers, size: float, _: np.random.Generator) -> Showers:
    """Leave out the fraction of the showers with the lowest relative response."""
    relative = relative_response(showers)
    return showers[np.flatnonzero(relative >= np.quantile(relative, size))]


def change_gain(showers: Showers, size: float, _: np.random.Generator) -> Showers:
    """Scale the deposits of one layer."""
    gain = np.ones(showers.grid.n_layers, np.float32)
    gain[gained(len(gain))] += size
    return replace(showers, deposits=showers.deposits * gain)


def loosen_layers(showers: Showers, size: float, rng: np.random.Generator) -> Showers:
    """Give a fraction of the showers the odd layers of the shower next in energy, and so on in a ring of two.

    The correlation of neighbouring layers falls by that fraction, and no layer's own distribution changes.
    """
    deposits = showers.deposits.copy()
    order = np.argsort(showers.incident_energy, kind="stable")
    pairs = order[: len(order) // 2 * 2].reshape(-1, 2)
    pairs = pairs[rng.random(len(pairs)) < size]
    deposits[pairs, :, :, 1::2] = deposits[pairs[:, ::-1], :, :, 1::2]
    return replace(showers, deposits=deposits)


def one_energy(showers: Showers, size: float, rng: np.random.Generator) -> Showers:
    """Give a fraction of the showers of 25 to 35 GeV the deposits of one of 29 to 31 GeV."""
    energy = showers.incident_energy / GEV
    deposits = showers.deposits.copy()
    there = np.flatnonzero((energy > 25) & (energy < 35))
    there = there[rng.random(len(there)) < size]
    near = np.flatnonzero(np.abs(energy - 30) < 1)
    deposits[there] = showers.deposits[rng.choice(near, len(there))]
    return replace(showers, deposits=deposits)


def scale_energies(showers: Showers, size: float, _: np.random.Generator) -> Showers:
    """Scale all deposits."""
    return _scaled(showers, np.full(len(showers), 1 + size))


def spread_hits(showers: Showers, size: float, rng: np.random.Generator) -> Showers:
    """Move hits away from the shower's barycentre by a fraction of their distance: whole cells at random."""
    n, nx, ny, _nz = showers.deposits.shape
    shower, *index = np.nonzero(showers.deposits)
    deposit = showers.deposits[shower, *index]
    moved = np.zeros_like(showers.deposits)
    for axis, cells in ((0, nx), (1, ny)):
        mean = np.bincount(shower, deposit * index[axis], n) / np.bincount(shower, deposit, n)
        step = size * (index[axis] - mean[shower])
        index[axis] = np.clip(
            index[axis] + np.floor(step + rng.random(len(step))).astype(int), 0, cells - 1
        )
    np.add.at(moved, (shower, *index), deposit)
    return replace(showers, deposits=moved)


def drop_hits(showers: Showers, size: float, rng: np.random.Generator) -> Showers:
    """Drop a fraction of the hits, with their energy."""
    return replace(showers, deposits=showers.deposits * (rng.random(showers.deposits.shape) >= size))


def shift_depth(showers: Showers, size: float, rng: np.random.Generator) -> Showers:
    """Shift a fraction of the showers by one layer."""
    deposits = showers.deposits.copy()
    there = np.flatnonzero(rng.random(len(showers)) < size)
    deposits[there, :, :, 1:] = showers.deposits[there, :, :, :-1]
    deposits[there, :, :, 0] = 0
    return replace(showers, deposits=deposits)


@dataclass(frozen=True)
class Distortion:
    """What is done to showers, how much of it, and in which unit that size is told."""

    title: str
    apply: Callable[[Showers, float, np.random.Generator], Showers]
    size: float
    of: str


DISTORTIONS = {
    "resolution": Distortion("sigma/E widened below 50 GeV", widen_resolution, 0.10, "of sigma"),
    "hits": Distortion("hits lost below 20 GeV", lose_hits, 0.05, "of the hits"),
    "tail": Distortion("lowest visible energies cut away", cut_tail, 0.01, "of the showers"),
    "gain": Distortion("one layer's gain changed", change_gain, 0.01, "of the gain"),
    "layers": Distortion("correlation of neighbouring layers lowered", loosen_layers, 0.5, "of it"),
    "one energy": Distortion(
        "showers of 30 GeV in place of 25 to 35 GeV", one_energy, 1.0, "of the showers there"
    ),
    "scale": Distortion("all deposits scaled", scale_energies, 0.02, "of the deposit"),
    "width": Distortion("hits moved outwards", spread_hits, 0.03, "of their distance"),
    "dropped": Distortion("hits dropped", drop_hits, 0.03, "of the hits"),
    "depth": Distortion("showers shifted by one layer", shift_depth, 0.5, "of the showers"),
}
"""Distortions by name, of the size that the table shows."""
