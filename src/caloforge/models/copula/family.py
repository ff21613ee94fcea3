"""The copula as the rest of the package sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.models.copula.fit import LikelihoodObjective
from caloforge.models.copula.model import FactorCopula
from caloforge.models.copula.transfer import take_over
from caloforge.models.family import Family, NewestCheckpoint
from caloforge.models.objective import TrainingShowers
from caloforge.models.saved import load_model
from caloforge.models.settings import Count, Positive, Sizes, TrainingConfig, Weight
from caloforge.showers import Domain
from caloforge.showers.conditions import PHOTON

__all__ = ["COPULA"]


class _Sizes(Sizes):
    factors: Count = 64


class _Config(TrainingConfig):
    model: Literal["copula"] = "copula"
    architecture: _Sizes = _Sizes()
    learning_rate: Positive = 0.01
    batch_size: Count = 64
    epochs: Count = 150
    schedule: Literal["constant", "plateau", "step", "cosine"] = "cosine"
    warmup_epochs: Weight = 2
    augment: tuple[str, ...] | Literal["all"] = "all"
    choose: Literal["best", "last"] = "last"


def _generator(grid: Grid, threshold_MeV: float, sizes: _Sizes, domain: Domain) -> FactorCopula:
    return FactorCopula(
        grid,
        threshold_MeV,
        tilted=domain.tilted,
        particles=PHOTON in domain.pdg_ids and len(domain.pdg_ids) > 1,
        turned=not (grid.cartesian or domain.tilted) and domain.on_axis,
        factors=sizes.factors,
    )


def _objective(
    _config: _Config, model: FactorCopula, _critic: nn.Module, showers: TrainingShowers
) -> LikelihoodObjective:
    return LikelihoodObjective(model, showers.some(), len(showers.energy_N))


def _take_over(networks: Mapping[str, nn.Module], source: Path, _checkpoint: NewestCheckpoint) -> None:
    """Begin with the model of a run, or a pretrained one, of the same or another detector."""
    model = networks["generator"]
    assert isinstance(model, FactorCopula)
    given, card = load_model(source)
    if not isinstance(given, FactorCopula):
        raise UsageError(f"expected weights of a copula, got those of {card.name}")
    take_over(model, given)


COPULA = Family(
    "cells' marginals tied by common factors, around the axis of the shower: fast, and nearest to Geant4",
    _Config,
    _generator,
    _objective,
    _take_over,
)
