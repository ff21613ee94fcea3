"""How near generated showers are to real ones of the same energies and angles: physics, and diversity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.models.base import ShowerModel
from caloforge.observables.definitions import observables
from caloforge.showers import Showers

__all__ = ["ShowerFitness"]

OBSERVED = (
    "sampling_fraction",
    "hits",
    "largest_fraction",
    "moment2_x",
    "moment2_y",
    "moment1_z",
    "moment2_z",
    "fraction_front",
    "leakage",
)
QUARTERS = 4
WORST = 10.0
"""Stands for a difference that is larger, or that cannot be told since nothing is deposited."""


class ShowerFitness:
    """Judges a model by the showers that it makes for the conditions of ``real`` ones; smaller is better.

    ``physics`` is how far the means of observables are off, in standard deviations of a real shower, ``diversity`` how far
    their spreads are, as logarithm of the ratio; both are averages over observables and quarters of the incident
    energy. Where all showers look alike the diversity is off. ``fitness`` is the sum.
    """

    def __init__(self, real: Showers, seed: int) -> None:
        self._real, self._seed = real, seed
        ranks = np.argsort(np.argsort(real.incident_energy, kind="stable"), kind="stable")
        self._quarter_N = ranks * QUARTERS // max(1, len(real))
        self._means, self._spreads = self._moments(real)

    def __call__(self, model: ShowerModel) -> dict[str, float]:
        """Generate showers, always with the same noise, and compare."""
        model.eval()
        deposits = model.sample(self._real.conditions, self._seed)
        means, spreads = self._moments(replace(self._real, deposits=deposits))
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs(means - self._means) / self._spreads
            wide = np.abs(np.log(spreads / self._spreads))
        physics, diversity = (
            float(np.nan_to_num(np.minimum(value, WORST), nan=WORST).mean()) for value in (off, wide)
        )
        return {"physics": physics, "diversity": diversity, "fitness": physics + diversity}

    def _moments(self, showers: Showers) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return means and standard deviations of the observables in each quarter, (O, Q)."""
        found = observables(showers)
        values_ON = np.array([found[name] for name in OBSERVED if name in found], np.float64)
        quarters = [values_ON[:, self._quarter_N == quarter] for quarter in range(QUARTERS)]
        means = np.stack([values.mean(axis=1) for values in quarters], axis=1)
        return means, np.stack([values.std(axis=1) for values in quarters], axis=1)
