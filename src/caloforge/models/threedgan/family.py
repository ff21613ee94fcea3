"""The published 3DGANs as the rest of the package sees them."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from caloforge.detector import Grid
from caloforge.models.base import ShowerModel
from caloforge.models.family import Family
from caloforge.models.objective import TrainingShowers
from caloforge.models.settings import Count, Sizes, TrainingConfig
from caloforge.models.threedgan.first_weights import take_over
from caloforge.models.threedgan.fixed_angle import Discriminator3DGAN, ThreeDGAN
from caloforge.models.threedgan.losses import AdversarialObjective, AngleLosses, Losses, SamplingFraction
from caloforge.models.threedgan.variable_angle import Discriminator3DGANAngle, ThreeDGANAngle
from caloforge.showers import Domain

__all__ = [
    "FIXED_ANGLE",
    "FIXED_ANGLE_X16",
    "VARIABLE_ANGLE",
    "VARIABLE_ANGLE_X16",
    "PublishedConfig",
    "Sizes3DGAN",
]


class Sizes3DGAN(Sizes):
    """Filters of generator and critic, and the length of the generator's input."""

    filters: Count = 6
    latent: Count = 200
    critic_filters: Count = 8


class _SizesX16(Sizes3DGAN):
    filters: Count = 16
    critic_filters: Count = 16


class _AngleSizes(Sizes):
    filters: Count = 6
    critic_filters: Count = 8


class _AngleSizesX16(_AngleSizes):
    filters: Count = 16
    critic_filters: Count = 16


class PublishedConfig(TrainingConfig):
    """What all four have in common."""

    objective: Losses = Losses()
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and products")


class _Config(PublishedConfig):
    model: Literal["3dgan"] = "3dgan"
    architecture: Sizes3DGAN = Sizes3DGAN()


class _ConfigX16(PublishedConfig):
    model: Literal["3dgan-x16"] = "3dgan-x16"
    architecture: _SizesX16 = _SizesX16()


class _AngleConfig(PublishedConfig):
    model: Literal["3dgan-angle"] = "3dgan-angle"
    architecture: _AngleSizes = _AngleSizes()
    objective: AngleLosses = AngleLosses()


class _AngleConfigX16(PublishedConfig):
    model: Literal["3dgan-angle-x16"] = "3dgan-angle-x16"
    architecture: _AngleSizesX16 = _AngleSizesX16()
    objective: AngleLosses = AngleLosses()


def _objective(
    config: PublishedConfig, model: ShowerModel, critic: nn.Module, showers: TrainingShowers
) -> AdversarialObjective:
    energy_N = showers.energy_N
    return AdversarialObjective(
        model,
        critic,
        config.objective,
        SamplingFraction.fit(showers.deposit_N(), energy_N),
        (float(energy_N.min()), float(energy_N.max())),
        torch.bfloat16 if config.precision == "bf16" else torch.float32,
    )


def _fixed_angle(grid: Grid, threshold_MeV: float, sizes: Sizes3DGAN, _domain: Domain) -> ThreeDGAN:
    return ThreeDGAN(grid, threshold_MeV, filters=sizes.filters, latent=sizes.latent)


def _variable_angle(
    grid: Grid, threshold_MeV: float, sizes: _AngleSizes, _domain: Domain
) -> ThreeDGANAngle:
    return ThreeDGANAngle(grid, threshold_MeV, filters=sizes.filters)


def _family(summary: str, settings: type[PublishedConfig], *, angle: bool) -> Family[Any]:
    critic = Discriminator3DGANAngle if angle else Discriminator3DGAN
    return Family(
        summary,
        settings,
        _variable_angle if angle else _fixed_angle,
        _objective,
        take_over,
        lambda grid, sizes: critic(grid.shape, filters=sizes.critic_filters),
    )


FIXED_ANGLE = _family("3DGAN of 2019 for a fixed angle, as published for 25x25x25", _Config, angle=False)
FIXED_ANGLE_X16 = _family("3dgan with filters in multiples of 16", _ConfigX16, angle=False)
VARIABLE_ANGLE = _family(
    "3DGAN for a variable angle, as published for 51x51x25", _AngleConfig, angle=True
)
VARIABLE_ANGLE_X16 = _family("3dgan-angle with filters in multiples of 16", _AngleConfigX16, angle=True)
