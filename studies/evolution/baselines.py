"""What evolution is compared with: gradient descent alone, and a search of the architecture alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream
from studies.evolution.genetic_algorithm import Budget, Individual, LearningCurve, batches, predict_all
from studies.evolution.gradients import GRADIENT_COST
from studies.evolution.mutations import MUTATIONS, STRUCTURAL
from studies.evolution.networks import Architecture, first_weights
from studies.evolution.projections import EnergyData, Projections, accuracy
from studies.evolution.seed_chains import first_network

__all__ = ["search_architectures", "train_by_gradient"]

MOST_CHANGES = 3
BREED = 2


def train_by_gradient(
    data: EnergyData,
    start: Architecture,
    evaluations: float,
    seed: int,
    *,
    batch: int = 32,
    learning_rate: float = 0.01,
    progress: Progress = silent,
) -> LearningCurve:
    """Train one network by RMSprop until so many evaluations are spent."""
    network = Individual.of(first_network(seed, start, 0))
    curve, budget = LearningCurve(network), Budget(evaluations, start, progress)
    batch_of = batches(data.train, batch, seed, "batch")
    budget.check(curve, data, [network])
    while budget.left:
        network = _stepped(network, next(batch_of), learning_rate, budget)
        budget.check(curve, data, [network])
    return curve


def search_architectures(
    data: EnergyData,
    start: Architecture,
    evaluations: float,
    seed: int,
    *,
    trials: int = 20,
    batch: int = 32,
    learning_rate: float = 0.01,
    progress: Progress = silent,
) -> LearningCurve:
    """Evolve the architecture alone: each is trained by RMSprop from new weights, for an equal share of the budget.

    An architecture is one of the two best so far, with up to three changes.
    """
    first = Individual.of(first_network(seed, start, 0))
    curve, budget = LearningCurve(first), Budget(evaluations, start, progress)
    budget.check(curve, data, [first])
    tried: list[tuple[float, Architecture]] = []
    for trial in range(trials):
        architecture = start if not tried else _changed(tried, stream(seed, "architecture", trial))
        weights_W = first_weights(architecture, stream(seed, "weights", trial))
        network = Individual.of((architecture, weights_W))
        batch_of: Iterator[Projections] = batches(data.train, batch, seed, f"batch {trial}")
        while budget.spent < evaluations * (trial + 1) / trials:
            network = _stepped(network, next(batch_of), learning_rate, budget)
            budget.check(curve, data, [network])
        predicted_B = predict_all([network], data.validation)[0]
        tried.append((accuracy(predicted_B, data.validation.energy_B).rmse_GeV, architecture))
    return curve


def _changed(tried: list[tuple[float, Architecture]], draws: np.random.Generator) -> Architecture:
    best = sorted(tried, key=lambda pair: pair[0])[:BREED]
    architecture = best[int(draws.integers(len(best)))][1]
    for _ in range(int(draws.integers(1, MOST_CHANGES + 1))):
        kind = str(draws.choice(STRUCTURAL))
        empty_W = np.zeros(architecture.n_weights, np.float32)
        architecture, _ = MUTATIONS[kind](architecture, empty_W, 0.0, draws)
    return architecture


def _stepped(
    network: Individual, showers: Projections, learning_rate: float, budget: Budget
) -> Individual:
    budget.add(network.architecture, GRADIENT_COST * len(showers))
    return network.descended([showers], learning_rate)
