"""How a training begins: the showers as a model sees them before the first step, and weights from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.files.training_store import ShowerStore
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.randomness import stream
from caloforge.models.objective import Objective, TrainingShowers
from caloforge.models.registry import MODELS
from caloforge.showers.batch import Batch
from caloforge.training.checkpoint import newest_valid
from caloforge.training.config import TrainingConfig
from caloforge.training.loader import take_batch

__all__ = ["build_objective", "initialise_from"]

SOME = 2000
"""Showers whose moments a training begins with."""


def build_objective(config: TrainingConfig, store: ShowerStore, train_N: NDArray[np.int64]) -> Objective:
    """Build the configured networks for a store's grid, with losses fitted to the showers ``train_N``.

    Raises UsageError where the grid or the showers do not suit the networks.
    """

    def some() -> Batch:
        order_N = stream(config.seed, "first look").permutation(train_N)
        return take_batch(store, order_N[:SOME])

    energy_N = store.conditions.incident_energy[train_N]
    showers = TrainingShowers(
        store.grid, store.threshold_MeV, energy_N, lambda: store.sum_MeV()[train_N], some
    )
    return MODELS[config.model].begin(config, showers)


def initialise_from(model: str, sources: Sequence[Path], networks: Mapping[str, nn.Module]) -> None:
    """Load weights into the networks of a model that has begun: what they may come from is the family's.

    Raises UsageError or CaloforgeError naming the source.
    """
    for source in sources:
        try:
            MODELS[model].take_over(networks, source, _newest)
        except CaloforgeError as error:
            raise type(error)(f"--init-from {source}: {error}") from None


def _newest(run: Path) -> Mapping[str, Tensor] | None:
    found, _ = newest_valid(run / "checkpoints")
    return None if found is None else found.tensors
