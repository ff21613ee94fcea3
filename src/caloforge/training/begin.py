"""How a training begins: the showers as a model sees them before the first step, and weights from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import ShowerStore
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.randomness import stream
from caloforge.foundations.units import DEGREE
from caloforge.models.objective import Objective, TrainingShowers
from caloforge.models.registry import MODELS, serves
from caloforge.showers.batch import Batch
from caloforge.training.checkpoint import newest_valid
from caloforge.training.config import TrainingConfig
from caloforge.training.loader import take_batch

__all__ = ["build_objective", "initialise_from", "require_sources", "usual_model"]

USUAL = {False: ("copula", "mixer", "3dgan"), True: ("copula-angle", "3dgan-angle")}
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
    angles = []
    for path in data:
        with ShowerFile(path) as file:
            grid, theta_N = file.grid, file.conditions.incident_theta
        angles += [float(theta_N.min()), float(theta_N.max())] if len(theta_N) else []
    low, high = min(angles, default=0.0), max(angles, default=0.0)
    varies = high - low > ONE_ANGLE
    names = [name for name in USUAL[varies] if serves(name, grid, (low, high))] or USUAL[varies]
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

    energy_N = store.conditions.incident_energy[train_N]
    showers = TrainingShowers(
        store.grid, store.threshold_MeV, energy_N, lambda: store.sum_MeV()[train_N], some
    )
    return MODELS[config.model].begin(config, showers)


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
