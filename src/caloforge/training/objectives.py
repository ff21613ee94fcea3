"""Which objective trains which model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.errors import UsageError
from caloforge.io.store import ShowerStore
from caloforge.models.factor_copula import FactorCopula
from caloforge.models.families import MODELS
from caloforge.streams import stream
from caloforge.training.adversarial import AdversarialObjective, SamplingFraction
from caloforge.training.config import TrainingConfig
from caloforge.training.likelihood import LikelihoodObjective
from caloforge.training.loader import Batch
from caloforge.training.objective import Objective

__all__ = ["build_objective"]

FIRST_LOOK = 2000
"""Showers whose moments a likelihood begins with."""


def build_objective(config: TrainingConfig, store: ShowerStore, train_N: NDArray[np.int64]) -> Objective:
    """Build the configured networks for a store's grid, with losses fitted to the showers ``train_N``.

    Raises UsageError where the grid does not suit the networks, or a setting would have no effect.
    """
    family = MODELS[config.model]
    model = family.generator(store.grid, store.threshold_MeV)
    if isinstance(model, FactorCopula):
        _refuse_what_has_no_effect(config)
        some_N = stream(config.seed, "first look").permutation(train_N)[:FIRST_LOOK]
        return LikelihoodObjective(model, Batch.of(store, some_N), len(train_N))
    energy_N = store.conditions.incident_energy[train_N]
    return AdversarialObjective(
        model,
        family.critic(store.grid),
        config.objective,
        SamplingFraction.fit(store.sum_MeV()[train_N], energy_N),
        (float(energy_N.min()), float(energy_N.max())),
        torch.bfloat16 if config.precision == "bf16" else torch.float32,
    )


def _refuse_what_has_no_effect(config: TrainingConfig) -> None:
    """Refuse settings of adversarial training where there is no adversary."""
    for name in ("objective", "precision"):
        if getattr(config, name) != getattr(TrainingConfig(), name):
            raise UsageError(f"setting {name}: has no effect on {config.model}, which has no critic")
