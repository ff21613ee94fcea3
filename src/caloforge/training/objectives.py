"""Which objective trains which model."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.files.training_store import ShowerStore
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import stream
from caloforge.models.base import ShowerModel
from caloforge.models.copula.fit import LikelihoodObjective
from caloforge.models.copula.model import FactorCopula
from caloforge.models.mixer.adversarial import RelativisticObjective
from caloforge.models.mixer.critic import ShowerCritic
from caloforge.models.mixer.likelihood import CellLikelihoodObjective
from caloforge.models.mixer.model import Mixer
from caloforge.models.objective import Objective
from caloforge.models.registry import MODELS
from caloforge.models.threedgan.losses import AdversarialObjective, SamplingFraction
from caloforge.showers.batch import Batch
from caloforge.training.config import ObjectiveConfig, TrainingConfig
from caloforge.training.loader import take_batch

__all__ = ["build_objective"]

FIRST_LOOK = 2000
"""Showers whose moments a training begins with."""

RELATIVISTIC_DEFAULTS: dict[str, Any] = {"penalty": 0.1, "likelihood": 0.0}
RELATIVISTIC = tuple(f"objective.{name}" for name in RELATIVISTIC_DEFAULTS)
PUBLISHED = tuple(
    f"objective.{name}" for name in ObjectiveConfig.model_fields if name not in RELATIVISTIC_DEFAULTS
)


def build_objective(config: TrainingConfig, store: ShowerStore, train_N: NDArray[np.int64]) -> Objective:
    """Build the configured networks for a store's grid, with losses fitted to the showers ``train_N``.

    Raises UsageError where the grid does not suit the networks, or a setting would have no effect.
    """
    family = MODELS[config.model]
    model = family.build(store.grid, store.threshold_MeV, config.architecture)
    if isinstance(model, FactorCopula):
        _refuse(config, ("objective", "precision"), "has no critic")
        return LikelihoodObjective(model, _first_look(config, store, train_N), len(train_N))
    critic = family.build_critic(store.grid, config.architecture)
    if isinstance(model, Mixer):
        look = _first_look(config, store, train_N)
        model.begin(look.deposits_BXYZ, look.energy_B, look.theta_B, look.impact_mm_B2)
    if isinstance(critic, ShowerCritic):
        _refuse(config, ("precision", *PUBLISHED), "has a loss of its own")
        return _relativistic(config, model, critic, _first_look(config, store, train_N))
    if isinstance(model, Mixer):
        _refuse(config, ("objective", "precision"), "has no critic")
        return CellLikelihoodObjective(model)
    _refuse(config, RELATIVISTIC, "is trained as published")
    energy_N = store.conditions.incident_energy[train_N]
    return AdversarialObjective(
        model,
        critic,
        config.objective,
        SamplingFraction.fit(store.sum_MeV()[train_N], energy_N),
        (float(energy_N.min()), float(energy_N.max())),
        torch.bfloat16 if config.precision == "bf16" else torch.float32,
    )


def _first_look(config: TrainingConfig, store: ShowerStore, train_N: NDArray[np.int64]) -> Batch:
    return take_batch(store, stream(config.seed, "first look").permutation(train_N)[:FIRST_LOOK])


def _relativistic(
    config: TrainingConfig, model: ShowerModel, critic: ShowerCritic, showers: Batch
) -> RelativisticObjective:
    critic.begin(showers.deposits_BXYZ, showers.energy_B, showers.theta_B)
    given = config.objective.model_dump(include=set(RELATIVISTIC_DEFAULTS), exclude_none=True)
    return RelativisticObjective(model, critic, **(RELATIVISTIC_DEFAULTS | given))


def _refuse(config: TrainingConfig, names: Sequence[str], why: str) -> None:
    """Refuse settings that have no effect on a model."""
    for name in names:
        value = attrgetter(name)
        if value(config) != value(TrainingConfig()):
            raise UsageError(f"setting {name}: has no effect on {config.model}, which {why}")
