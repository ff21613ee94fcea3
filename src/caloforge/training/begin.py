"""How a training begins: the showers as a model sees them before the first step, and weights from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import ShowerStore
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.randomness import stream
from caloforge.foundations.units import DEGREE
from caloforge.models.base import ShowerModel
from caloforge.models.family import ANY_ENERGY
from caloforge.models.objective import Objective, TrainingShowers
from caloforge.models.registry import MODELS, serves
from caloforge.showers import Domain, name_of
from caloforge.showers.batch import Batch
from caloforge.showers.conditions import ELECTRON, PHOTON
from caloforge.training.checkpoint import newest_valid
from caloforge.training.config import TrainingConfig
from caloforge.training.loader import take_batch

__all__ = ["build_objective", "initialise_from", "require_sources", "usual_model"]

USUAL = {False: ("copula", "mixer", "3dgan"), True: ("copula", "3dgan-angle")}
"""Models for showers at one angle, and for others: the nearest to Geant4 first."""

ONE_ANGLE = 1 * DEGREE
"""Angles that differ by no more are one to a model for a fixed angle."""

SOME = 2000
"""Showers whose moments a training begins with."""


def usual_model(data: Sequence[Path], init_from: Sequence[Path] = ()) -> tuple[str, str]:
    """Return the model for the showers of some files where nobody names one, and a line that says which and why.

    It is the best one for a fixed or a varying angle that can follow the angles on the grid; weights from a
    file, which only Keras wrote, are those of a published network. Raises as :class:`ShowerFile` does.
    """
    domains = []
    for path in data:
        with ShowerFile(path) as file:
            grid = file.grid
            domains += [Domain.of(file.conditions)] if len(file.conditions) else []
    domain = reduce(Domain.__or__, domains) if domains else ANY_ENERGY
    low, high = domain.theta_rad
    varies = high - low > ONE_ANGLE
    names = [name for name in USUAL[varies] if serves(name, grid, domain)] or USUAL[varies]
    if any(source.is_file() for source in init_from):
        names = [name for name in USUAL[varies] if name.startswith("3dgan")]
    kind = f"showers at {'many angles' if varies else 'one angle'}"
    return names[0], f"model: {names[0]}, the usual one for {kind}; --model takes another"


def build_objective(config: TrainingConfig, store: ShowerStore, train_N: NDArray[np.int64]) -> Objective:
    """Build the configured networks for a store's grid, with losses fitted to the showers ``train_N``.

    Raises UsageError where the grid or the showers do not suit the networks.
    """

    def some() -> Batch:
        order_N = stream(config.seed, "first look").permutation(train_N)
        return take_batch(store, order_N[:SOME])

    seen = store.conditions[train_N]
    showers = TrainingShowers(
        store.grid,
        store.threshold_MeV,
        Domain.of(seen),
        seen.incident_energy,
        lambda: store.sum_MeV()[train_N],
        some,
    )
    objective = MODELS[config.model].begin(config, showers)
    _require_followed(config.model, objective.model, showers.domain)
    return objective


def _require_followed(name: str, model: ShowerModel, domain: Domain) -> None:
    """Refuse azimuths and particles that vary, for a model that does not follow them."""
    low, high = (angle / DEGREE for angle in domain.phi_rad)
    if high - low > 1 and "incident_phi" not in model.follows:
        raise UsageError(
            f"data: {name} does not follow the azimuth phi, got showers at {low:.4g} to {high:.4g} degrees"
        )
    kinds = {abs(pdg) for pdg in domain.pdg_ids}  # a particle and its antiparticle shower alike
    told_apart = {ELECTRON, PHOTON} if "pdg_id" in model.follows else set()
    if len(kinds) > 1 and not kinds <= told_apart:
        found = ", ".join(map(name_of, domain.pdg_ids))
        raise UsageError(
            f"data: {name} does not tell these particles apart: {found}; train one model each"
        )


def initialise_from(model: str, sources: Sequence[Path], networks: Mapping[str, nn.Module]) -> None:
    """Load weights into the networks of a model that has begun: what they may come from is the family's.

    Raises UsageError or CaloforgeError naming the source.
    """
    for source in sources:
        try:
            MODELS[model].take_over(networks, source, _newest)
        except CaloforgeError as error:
            raise type(error)(f"--init-from {source}: {error}") from None


def require_sources(sources: Sequence[Path]) -> None:
    """Raise UsageError for first weights that are not there."""
    for source in sources:
        if not source.exists():
            raise UsageError(
                f"--init-from {source}: no such file or folder, nor a name from `caloforge models`"
            )


def _newest(run: Path) -> Mapping[str, Tensor] | None:
    found, _ = newest_valid(run / "checkpoints")
    return None if found is None else found.tensors
