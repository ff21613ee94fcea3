"""The mixer as the rest of the package sees it: trained by likelihood, or against a critic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from caloforge.detector import Grid
from caloforge.models.family import Family, NewestCheckpoint
from caloforge.models.mixer.adversarial import RelativisticLoss, RelativisticObjective
from caloforge.models.mixer.critic import ShowerCritic
from caloforge.models.mixer.growth import grow_mixer
from caloforge.models.mixer.likelihood import CellLikelihoodObjective
from caloforge.models.mixer.model import Mixer, MixerSizes
from caloforge.models.mixer.moments import begin
from caloforge.models.objective import TrainingShowers
from caloforge.models.settings import Count, Fraction, Positive, TrainingConfig, Weight
from caloforge.models.shared.first_weights import from_run

__all__ = ["MIXER", "MIXER_GAN"]


class _Common(TrainingConfig):
    architecture: MixerSizes = MixerSizes()
    batch_size: Count = 32
    schedule: Literal["constant", "plateau", "step", "cosine"] = "cosine"
    warmup_epochs: Weight = 1
    augment: tuple[str, ...] | Literal["all"] = "all"
    choose: Literal["best", "last"] = "last"


class _Config(_Common):
    model: Literal["mixer"] = "mixer"
    learning_rate: Positive = 1e-3
    epochs: Count = 300


class _GanConfig(_Common):
    model: Literal["mixer-gan"] = "mixer-gan"
    learning_rate: Positive = 3e-4
    epochs: Count = 100
    ema_decay: Fraction = 0.998
    objective: RelativisticLoss = RelativisticLoss()


def _generator(grid: Grid, threshold_MeV: float, sizes: MixerSizes) -> Mixer:
    return Mixer(grid, threshold_MeV, sizes)


def _likelihood(
    _config: _Config, model: Mixer, _critic: nn.Module, showers: TrainingShowers
) -> CellLikelihoodObjective:
    begin(model, showers.some())
    return CellLikelihoodObjective(model)


def _adversarial(
    config: _GanConfig, model: Mixer, critic: ShowerCritic, showers: TrainingShowers
) -> RelativisticObjective:
    some = showers.some()
    begin(model, some)
    critic.begin(some)
    loss = config.objective
    return RelativisticObjective(model, critic, penalty=loss.penalty, likelihood=loss.likelihood)


def _take_over(networks: Mapping[str, nn.Module], source: Path, checkpoint: NewestCheckpoint) -> None:
    from_run(networks, source, checkpoint, grow_mixer)


MIXER = Family(
    "layer energies, then a mixer over patches of the face, by the likelihood of cells",
    _Config,
    _generator,
    _likelihood,
    _take_over,
)
MIXER_GAN = Family(
    "the same against a critic of cells and observables, with R3GAN's loss",
    _GanConfig,
    _generator,
    _adversarial,
    _take_over,
    lambda grid, _: ShowerCritic(grid),
)
