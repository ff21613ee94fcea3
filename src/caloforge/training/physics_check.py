"""A short physics check: is the sampling fraction right, and do mean showers have the right shape?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.files.training_store import ShowerStore
from caloforge.models.base import ShowerModel
from caloforge.observables.definitions import mean_profiles, sampling_fraction_by_energy
from caloforge.showers import Showers
from caloforge.training.data_parallel import Group

__all__ = ["WORST_SCORE", "PhysicsCheck"]

WORST_SCORE = 1e9
"""Stands for a score that is no number, which JSON cannot keep."""

AT_ONCE = 32
ENERGY_BINS = 4


class PhysicsCheck:
    """Compares showers of a model with real ones of the same energies and angles.

    ``index_N`` are the showers of ``store`` to compare with: ones that are not trained on.
    """

    def __init__(self, store: ShowerStore, index_N: NDArray[np.int64], seed: int) -> None:
        self._real, self._seed = store.showers(index_N), seed
        # Bins that begin at a shower's energy, so that none is empty, and hold about equally many.
        energy_N, quantiles = self._real.incident_energy, np.linspace(0, 1, ENERGY_BINS + 1)
        edges_MeV = np.unique(np.quantile(energy_N, quantiles, method="lower"))
        self._edges_MeV = np.append(edges_MeV[:-1] if len(edges_MeV) > 1 else edges_MeV, np.inf)
        self._fraction = sampling_fraction_by_energy(self._real, self._edges_MeV)
        self._profiles = normalised_profiles(self._real)

    def __call__(self, model: ShowerModel, group: Group) -> dict[str, float]:
        """Generate showers and return their errors; ``score`` (smaller is better) sums them up.

        ``sampling_fraction_ratio`` is the mean over energy bins of generated over real fraction,
        ``sampling_fraction_error`` the mean of the ratio's distance from 1, and ``shape_*_error``
        the absolute difference of the mean profiles along an axis, both normalised to 1, summed;
        those of deposits that are not finite are not finite either. The workers share the showers out
        among them; the figures are the same for any number of them.
        """
        conditions, deposits = self._real.conditions, np.zeros_like(self._real.deposits)
        for first in range(group.rank * AT_ONCE, len(conditions), group.world * AT_ONCE):
            part = slice(first, first + AT_ONCE)
            deposits[part] = model.sample(conditions[part], self._seed, first)
        group.add_up(torch.from_numpy(deposits))
        with np.errstate(over="ignore", invalid="ignore"):
            fake = replace(self._real, deposits=deposits)
            ratio = sampling_fraction_by_energy(fake, self._edges_MeV) / self._fraction
            result = {
                "sampling_fraction_ratio": float(ratio.mean()),
                "sampling_fraction_error": float(np.abs(ratio - 1).mean()),
            }
            profiles = normalised_profiles(fake)
            shapes = {
                f"shape_{axis}_error": float(np.abs(profiles[axis] - real).sum())
                for axis, real in self._profiles.items()
            }
        score = result["sampling_fraction_error"] + float(np.mean(list(shapes.values())))
        return {**result, **shapes, "score": score}


def normalised_profiles(showers: Showers) -> dict[str, NDArray[np.float64]]:
    """Mean profiles whose cells add up to 1; zeros where nothing is deposited at all."""
    return {
        axis: profile / max(float(profile.sum()), 1e-12)
        for axis, profile in mean_profiles(showers).items()
    }
