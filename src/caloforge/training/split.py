"""The showers of a training: which are packed, which are trained on, and which judge the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import ShowerStore, prepare_store
from caloforge.foundations import cache
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import stream
from caloforge.foundations.units import GEV, Spectrum
from caloforge.training.config import TrainingConfig

__all__ = ["Split", "prepare_data"]

DEFAULT_THRESHOLD_MEV = 0.001
"""Cells below 1e-6 GeV are not read out in the published data either."""


def prepare_data(config: TrainingConfig, data: Sequence[Path], *, verify: bool = True) -> ShowerStore:
    """Pack the showers of files, or find them packed. Raises as :func:`prepare_store` does."""
    threshold_MeV = config.threshold_MeV
    if threshold_MeV is None:
        with ShowerFile(data[0]) as file:
            threshold_MeV = file.grid.threshold_MeV or DEFAULT_THRESHOLD_MEV
    folder = cache.cache_folder("stores")
    return prepare_store(data, folder, threshold_MeV=threshold_MeV, verify=verify)


@dataclass(frozen=True)
class Split:
    """Indices of the showers of a store that are trained on, and of those that judge the epochs."""

    train_N: NDArray[np.int64]
    validation_N: NDArray[np.int64]

    @classmethod
    def of(cls, store: ShowerStore, config: TrainingConfig) -> Split:
        """Split by the seed, among the showers in the configured range of energies.

        Raises UsageError if fewer than two are left to train on, or none of them has a deposit.
        """
        chosen_N = np.arange(len(store))
        if config.energy is not None:
            spectrum = Spectrum.parse(config.energy, unit=GEV, what="setting energy")
            energy_N = store.conditions.incident_energy
            chosen_N = np.flatnonzero((energy_N >= spectrum.low) & (energy_N <= spectrum.high))
        n_validation = max(1, round(config.validation_fraction * len(chosen_N)))
        if len(chosen_N) - n_validation < 2:
            where = "data" if config.energy is None else f"setting energy: {config.energy} GeV"
            raise UsageError(
                f"{where}: {len(chosen_N)} showers, expected at least 3: two to train on, one to judge by"
            )
        order_N = stream(config.seed, "split").permutation(chosen_N)
        if not store.count_hits()[order_N[n_validation:]].any():
            raise UsageError(
                f"data: no shower to train on has a deposit of {store.threshold_MeV:g} MeV or more, expected hits"
            )
        return cls(np.sort(order_N[n_validation:]), order_N[:n_validation])
