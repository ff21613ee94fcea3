"""The mixer as the rest of the package sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import nn

from caloforge.models.family import Family, NewestCheckpoint
from caloforge.models.mixer.growth import grow_mixer
from caloforge.models.mixer.likelihood import CellLikelihoodObjective
from caloforge.models.mixer.model import Mixer, MixerSizes
from caloforge.models.mixer.moments import begin
from caloforge.models.objective import TrainingShowers
from caloforge.models.settings import Count, Positive, TrainingConfig, Weight
from caloforge.models.shared.first_weights import from_run

__all__ = ["MIXER", "MixerConfig"]


class MixerConfig(TrainingConfig):
    """Settings that suit a mixer, whatever it is trained by."""

    architecture: MixerSizes = MixerSizes()
    batch_size: Count = 32
    schedule: Literal["constant", "plateau", "step", "cosine"] = "cosine"
    warmup_epochs: Weight = 1
    augment: tuple[str, ...] | Literal["all"] = "all"
    choose: Literal["best", "last"] = "last"


class _Config(MixerConfig):
    model: Literal["mixer"] = "mixer"
    learning_rate: Positive = 1e-3
    epochs: Count = 300


def _likelihood(
    _config: _Config, model: Mixer, _critic: nn.Module, showers: TrainingShowers
) -> CellLikelihoodObjective:
    begin(model, showers.some())
    return CellLikelihoodObjective(model)


def _take_over(networks: Mapping[str, nn.Module], source: Path, checkpoint: NewestCheckpoint) -> None:
    from_run(networks, source, checkpoint, grow_mixer)


MIXER = Family(
    "layer energies, then a mixer over patches of the face, by the likelihood of cells",
    _Config,
    lambda grid, threshold_MeV, sizes, _domain: Mixer(grid, threshold_MeV, sizes),
    _likelihood,
    _take_over,
)
