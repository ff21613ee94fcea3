"""What a folder of this room tells the rest of the package: how its models are set, built, begun and taken over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.foundations.texts import fill
from caloforge.models.base import ShowerModel
from caloforge.models.objective import Objective, TrainingShowers
from caloforge.models.settings import Sizes, TrainingConfig

__all__ = ["Family", "NewestCheckpoint"]

S = TypeVar("S", bound=TrainingConfig)

NewestCheckpoint = Callable[[Path], Mapping[str, Tensor] | None]
"""Reads the tensors ``generator.*``, ``critic.*`` of a run's newest whole checkpoint, if it has one."""


@dataclass(frozen=True)
class Family(Generic[S]):
    """A kind of model. Networks are built from a grid and the sizes that ``settings`` name.

    ``objective`` begins a training: it fits what has a closed form to the showers, and gives the losses of
    generator and critic. ``take_over`` loads first weights from a path into networks that have so begun; it
    raises UsageError or CaloforgeError where they do not fit. ``steepest_rad`` is the smallest angle to the face
    that it can follow, where there is one.
    """

    summary: str
    settings: type[S]
    generator: Callable[[Grid, float, Any], ShowerModel]
    objective: Callable[[S, Any, Any, TrainingShowers], Objective]
    take_over: Callable[[Mapping[str, nn.Module], Path, NewestCheckpoint], None]
    critic: Callable[[Grid, Any], nn.Module] = lambda _grid, _sizes: nn.Identity()
    steepest_rad: float | None = None

    def sizes(self, chosen: Mapping[str, int] | None = None) -> Sizes:
        """Return all sizes: those ``chosen``, else the usual. Raises CaloforgeError naming a wrong one."""
        usual: Sizes = self.settings.model_fields["architecture"].default
        return fill(type(usual), chosen or {}, "architecture")

    def build(
        self, grid: Grid, threshold_MeV: float, chosen: Mapping[str, int] | None = None
    ) -> ShowerModel:
        """Build the generator with fresh weights. Raises CaloforgeError as :meth:`sizes` does, UsageError where the grid does not suit it."""
        return self.generator(grid, threshold_MeV, self.sizes(chosen))

    def build_critic(self, grid: Grid, chosen: Mapping[str, int] | None = None) -> nn.Module:
        """Build what it is trained against, likewise; an empty network where that is nothing."""
        return self.critic(grid, self.sizes(chosen))

    def begin(self, config: S, showers: TrainingShowers) -> Objective:
        """Build the configured networks and begin a training of them.

        Raises UsageError where grid or showers do not suit the networks.
        """
        model = self.generator(showers.grid, showers.threshold_MeV, config.architecture)
        critic = self.critic(showers.grid, config.architecture)
        return self.objective(config, model, critic, showers)
