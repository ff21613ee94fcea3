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
from caloforge.showers import MAX_INCIDENT_MEV, MIN_INCIDENT_MEV, Domain

__all__ = ["Family", "NewestCheckpoint"]

S = TypeVar("S", bound=TrainingConfig)

ANY_ENERGY = Domain((MIN_INCIDENT_MEV, MAX_INCIDENT_MEV))
"""Electrons at normal incidence."""

NewestCheckpoint = Callable[[Path], Mapping[str, Tensor] | None]
"""Reads the tensors ``generator.*``, ``critic.*`` of a run's newest whole checkpoint, if it has one."""


@dataclass(frozen=True)
class Family(Generic[S]):
    """A kind of model. Networks are built from a grid, the sizes that ``settings`` name, and the conditions to serve.

    ``objective`` begins a training: it fits what has a closed form to the showers, and gives the losses of
    generator and critic. ``take_over`` loads first weights from a path into networks that have so begun; it
    raises UsageError or CaloforgeError where they do not fit.
    """

    summary: str
    settings: type[S]
    generator: Callable[[Grid, float, Any, Domain], ShowerModel]
    objective: Callable[[S, Any, Any, TrainingShowers], Objective]
    take_over: Callable[[Mapping[str, nn.Module], Path, NewestCheckpoint], None]
    critic: Callable[[Grid, Any], nn.Module] = lambda _grid, _sizes: nn.Identity()

    def sizes(self, chosen: Mapping[str, int] | None = None) -> Sizes:
        """Return all sizes: those ``chosen``, else the usual. Raises CaloforgeError naming a wrong one."""
        usual: Sizes = self.settings.model_fields["architecture"].default
        return fill(type(usual), chosen or {}, "architecture")

    def build(
        self,
        grid: Grid,
        threshold_MeV: float,
        chosen: Mapping[str, int] | None = None,
        domain: Domain = ANY_ENERGY,
    ) -> ShowerModel:
        """Build the generator with fresh weights. Raises CaloforgeError as :meth:`sizes` does, UsageError where the grid does not suit it."""
        return self.generator(grid, threshold_MeV, self.sizes(chosen), domain)

    def build_critic(self, grid: Grid, chosen: Mapping[str, int] | None = None) -> nn.Module:
        """Build what it is trained against, likewise; an empty network where that is nothing."""
        return self.critic(grid, self.sizes(chosen))

    def begin(self, config: S, showers: TrainingShowers) -> Objective:
        """Build the configured networks and begin a training of them.

        Raises UsageError where grid or showers do not suit the networks.
        """
        model = self.generator(showers.grid, showers.threshold_MeV, config.architecture, showers.domain)
        critic = self.critic(showers.grid, config.architecture)
        return self.objective(config, model, critic, showers)
