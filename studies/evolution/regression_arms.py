"""Ways to train a regression of the primary energy, as findings compare them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from caloforge.foundations.progress import Progress, silent
from studies.evolution.baselines import search_architectures, train_by_gradient
from studies.evolution.genetic_algorithm import LearningCurve, Recipe, evolve, predict_all
from studies.evolution.networks import Architecture
from studies.evolution.projections import EnergyData, Projections, accuracy, project

__all__ = ["Arm", "RunSettings", "ShowerFiles", "architectures", "encoded", "evolved", "trained"]


@dataclass(frozen=True)
class ShowerFiles:
    """Showers to learn from, and others to quote numbers for."""

    data: Path
    test: Path | None

    def read(self) -> tuple[Projections, Projections | None]:
        """Read both files' projections, once. Raises UsageError or CaloforgeError."""
        return self._projections

    @cached_property
    def _projections(self) -> tuple[Projections, Projections | None]:
        return project(self.data), None if self.test is None else project(self.test)


@dataclass(frozen=True)
class RunSettings:
    """What a run is given: files, a budget, a seed, and a folder that outlives a killed process."""

    files: ShowerFiles
    evaluations: float
    seed: int
    folder: Path
    progress: Progress = silent

    @property
    def data(self) -> EnergyData:
        """Split the projections by the seed."""
        return EnergyData.of(*self.files.read(), self.seed)


Arm = Callable[[RunSettings], dict[str, Any]]
"""One of the ways that a finding compares: returns ``numbers`` by name, and its ``curve`` where there is one."""


def evolved(recipe: Recipe, **layers: Any) -> Arm:
    """Evolve by a recipe, from networks with these layers."""
    return _arm(partial(evolve, recipe=recipe), layers)


def trained(*, learning_rate: float = 0.01) -> Arm:
    """Train one network by RMSprop."""
    return _arm(partial(train_by_gradient, learning_rate=learning_rate), {})


def architectures(**layers: Any) -> Arm:
    """Evolve the architecture alone, from these layers."""
    return _arm(search_architectures, layers)


def encoded(recipe: Recipe, **layers: Any) -> Arm:
    """Evolve, then measure the chain that the best network came from; it must grow the same bits."""
    return _arm(partial(evolve, recipe=recipe), layers, _chain_numbers)


def _arm(
    train: Callable[..., LearningCurve],
    layers: Mapping[str, Any],
    measure: Callable[[LearningCurve, Architecture, int], dict[str, float]] | None = None,
) -> Arm:
    """Make an arm of a way to train; ``measure`` adds numbers to those of every run."""

    def run(settings: RunSettings) -> dict[str, Any]:
        data = settings.data
        _, patches, cells = data.train.patches_BNK.shape
        start = replace(Architecture(patches, cells), **layers)
        curve = train(data, start, settings.evaluations, settings.seed, progress=settings.progress)
        found = _outcome(curve, data)
        if measure is not None:
            found["numbers"] |= measure(curve, start, settings.seed)
        return found

    return run


def _chain_numbers(curve: LearningCurve, start: Architecture, seed: int) -> dict[str, float]:
    chain = curve.best.chain(seed, start)
    assert chain is not None, "mutations alone leave a chain"
    size = len(chain.to_bytes())
    began = time.process_time()
    _, weights_W = chain.grow()
    return {
        "genes": len(chain.genes),
        "chain_bytes": size,
        "weights_bytes": weights_W.nbytes,
        "compression": weights_W.nbytes / size,
        "grow_s": time.process_time() - began,
        "equal_bits": float(weights_W.tobytes() == curve.best.weights_W.tobytes()),
    }


def _outcome(curve: LearningCurve, data: EnergyData) -> dict[str, Any]:
    """Return what every run has; the quoted accuracy is that on the test part."""
    best = curve.best
    quoted = accuracy(predict_all([best], data.test)[0], data.test.energy_B)
    return {
        "numbers": {
            "rmse_GeV": quoted.rmse_GeV,
            "resolution": quoted.resolution,
            "curve_GeV": curve.average(),
            "core_s": curve.core_s[-1],
            "weights": best.architecture.n_weights,
        },
        "layers": [best.architecture.channels, *best.architecture.hidden],
        "curve_of": "RMSE of the validation part [GeV]",
        "curve": {
            "evaluations": curve.evaluations,
            "core_s": curve.core_s,
            "error": curve.rmse_GeV,
        },
    }
