"""``mixer-gan`` as the rest of the package sees it."""

from __future__ import annotations

from typing import Literal

from caloforge.models.family import Family
from caloforge.models.mixer.family import MIXER, MixerConfig
from caloforge.models.mixer.model import Mixer
from caloforge.models.mixer.moments import begin
from caloforge.models.objective import TrainingShowers
from caloforge.models.settings import Count, Fraction, Positive
from studies.mixer_gan.adversarial import RelativisticLoss, RelativisticObjective
from studies.mixer_gan.critic import ShowerCritic

__all__ = ["MIXER_GAN"]


class _Config(MixerConfig):
    model: Literal["mixer-gan"] = "mixer-gan"
    learning_rate: Positive = 3e-4
    epochs: Count = 100
    ema_decay: Fraction = 0.998
    objective: RelativisticLoss = RelativisticLoss()


def _adversarial(
    config: _Config, model: Mixer, critic: ShowerCritic, showers: TrainingShowers
) -> RelativisticObjective:
    some = showers.some()
    begin(model, some)
    critic.begin(some)
    loss = config.objective
    return RelativisticObjective(model, critic, penalty=loss.penalty, likelihood=loss.likelihood)


MIXER_GAN = Family(
    "the mixer against a critic of cells and observables, with R3GAN's loss",
    _Config,
    MIXER.generator,
    _adversarial,
    MIXER.take_over,
    lambda grid, _: ShowerCritic(grid),
)
