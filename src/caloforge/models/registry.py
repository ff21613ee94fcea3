"""The published 3DGANs as shower models, and the list of every model by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.models.copula.model import FactorCopula
from caloforge.models.mixer.critic import ShowerCritic
from caloforge.models.mixer.model import Mixer
from caloforge.models.shared.transforms import Chain, Power, Scale
from caloforge.models.threedgan.fixed_angle import LATENT, Discriminator3DGAN, Generator3DGAN
from caloforge.models.threedgan.layers import count_weights
from caloforge.models.threedgan.variable_angle import Discriminator3DGANAngle, Generator3DGANAngle

__all__ = ["MODELS", "Family", "ThreeDGAN", "ThreeDGANAngle", "describe"]


class ThreeDGAN(ShowerModel):
    """``3dgan``: the primary energy, in units of 100 GeV, multiplies 200 normal numbers.

    Its images hold 50 x GeV, as the published data for variable angles do.
    """

    def __init__(
        self, grid: Grid, threshold_MeV: float, *, filters: int = 6, latent: int = LATENT
    ) -> None:
        super().__init__()
        self.grid, self.threshold_MeV = grid, threshold_MeV
        # In GeV the output layer dies within the first steps: weights of usual size make showers a
        # thousand times too bright, and what corrects them drives every inner cell below zero.
        self.transform = Scale(50 / GEV)
        self.network = Generator3DGAN(grid.shape, filters=filters, latent=latent)
        self.noise_size = latent

    def forward(self, energy_B: Tensor, theta_B: Tensor, noise_BL: Tensor) -> Tensor:  # noqa: ARG002
        """Make images (B, nx, ny, nz) in 50 x GeV; the angle is not listened to."""
        image_BXYZ: Tensor = self.network(noise_BL * (energy_B / (100 * GEV))[:, None])
        return image_BXYZ


class ThreeDGANAngle(ShowerModel):
    """``3dgan-angle``: energy and angle stand beside 254 normal numbers.

    Its images hold (50 x GeV) to the power 0.85.
    """

    conditioned_on_angle = True

    def __init__(self, grid: Grid, threshold_MeV: float, *, filters: int = 6) -> None:
        super().__init__()
        self.grid, self.threshold_MeV = grid, threshold_MeV
        self.transform = Chain((Scale(50 / GEV), Power(0.85)))
        self.network = Generator3DGANAngle(grid.shape, filters=filters)
        self.noise_size = self.network.latent_size - 2

    def forward(self, energy_B: Tensor, theta_B: Tensor, noise_BL: Tensor) -> Tensor:
        """Make images (B, nx, ny, nz)."""
        conditions_B2 = torch.stack((energy_B / (100 * GEV), theta_B), dim=1)
        image_BXYZ: Tensor = self.network(torch.cat((conditions_B2, noise_BL), dim=1))
        return image_BXYZ


@dataclass(frozen=True)
class Family:
    """A generator and the critic that it is trained against, if any, both built for a grid.

    Their keyword arguments that are whole numbers are the family's architecture, no name in both.
    ``settings`` are those of training that suit it and are not everybody's.
    """

    summary: str
    generator: Callable[..., ShowerModel]
    critic: Callable[..., nn.Module] = lambda _: nn.Identity()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def architecture(self, chosen: Mapping[str, int] | None = None) -> dict[str, int]:
        """Return all numbers of the architecture by name: those ``chosen``, else the usual.

        Raises UsageError for a name that neither network has.
        """
        usual = {**_numbers(self.generator), **_numbers(self.critic)}
        for name in chosen or ():
            if name not in usual:
                raise UsageError(f"architecture.{name}: expected one of {', '.join(usual)}")
        return {**usual, **(chosen or {})}

    def build(self, grid: Grid, threshold_MeV: float, architecture: Mapping[str, int]) -> ShowerModel:
        """Build the generator. Raises UsageError as :meth:`architecture` does."""
        return self.generator(grid, threshold_MeV, **self._of(self.generator, architecture))

    def build_critic(self, grid: Grid, architecture: Mapping[str, int]) -> nn.Module:
        """Build the critic. Raises UsageError as :meth:`architecture` does."""
        return self.critic(grid, **self._of(self.critic, architecture))

    def _of(self, network: Callable[..., Any], architecture: Mapping[str, int]) -> dict[str, int]:
        complete = self.architecture(architecture)
        return {name: complete[name] for name in _numbers(network)}


def _numbers(network: Callable[..., Any]) -> dict[str, int]:
    """Find the keyword arguments of what builds a network that are whole numbers, with their defaults."""
    found = {name: parameter.default for name, parameter in signature(network).parameters.items()}
    return {name: default for name, default in found.items() if type(default) is int}


LIKELIHOOD = {
    "learning_rate": 0.01,
    "batch_size": 64,
    "epochs": 150,
    "schedule": "cosine",
    "warmup_epochs": 2,
    "augment": "all",
    "choose": "last",
}

MIXER = {
    "learning_rate": 1e-3,
    "batch_size": 32,
    "epochs": 300,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "augment": "all",
    "choose": "last",
}


MODELS: dict[str, Family] = {
    "copula": Family(
        "cells' laws tied by common factors, for a fixed angle: fast, and nearest to Geant4",
        FactorCopula,
        settings=LIKELIHOOD,
    ),
    "copula-angle": Family(
        "the same in the frame of a tilted shower",
        partial(FactorCopula, tilted=True),
        settings=LIKELIHOOD,
    ),
    "mixer": Family(
        "layer energies, then a mixer over patches of the face, by the likelihood of cells",
        Mixer,
        settings=MIXER,
    ),
    "mixer-gan": Family(
        "the same against a critic of cells and observables, with R3GAN's loss",
        Mixer,
        ShowerCritic,
        settings={**MIXER, "learning_rate": 3e-4, "epochs": 100, "ema_decay": 0.998},
    ),
    "3dgan": Family(
        "3DGAN of 2019 for a fixed angle, as published for 25x25x25",
        ThreeDGAN,
        lambda grid, critic_filters=8: Discriminator3DGAN(grid.shape, filters=critic_filters),
    ),
    "3dgan-x16": Family(
        "3dgan with filters in multiples of 16",
        partial(ThreeDGAN, filters=16),
        lambda grid, critic_filters=16: Discriminator3DGAN(grid.shape, filters=critic_filters),
    ),
    "3dgan-angle": Family(
        "3DGAN for a variable angle, as published for 51x51x25",
        ThreeDGANAngle,
        lambda grid, critic_filters=8: Discriminator3DGANAngle(grid.shape, filters=critic_filters),
    ),
    "3dgan-angle-x16": Family(
        "3dgan-angle with filters in multiples of 16",
        partial(ThreeDGANAngle, filters=16),
        lambda grid, critic_filters=16: Discriminator3DGANAngle(grid.shape, filters=critic_filters),
    ),
}


def describe(grid: Grid) -> list[dict[str, str | int]]:
    """List every network with its parameters on a grid; a dash where the grid is too small."""
    return [
        {
            "name": name,
            "generator": _parameters(partial(family.generator, grid, 0.0)),
            "critic": _parameters(partial(family.critic, grid)),
            "summary": family.summary,
        }
        for name, family in MODELS.items()
    ]


def _parameters(build: Callable[[], nn.Module]) -> int | str:
    try:
        with torch.device("meta"):  # shapes alone: nothing is allocated or drawn
            return count_weights(build())
    except UsageError:
        return "-"
