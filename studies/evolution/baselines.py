"""What evolution is compared with: gradient descent alone, and a search of the architecture alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream
from studies.evolution.evolution import Course, Individual, Meter, answers, batches
from studies.evolution.gradients import GRADIENT_COST
from studies.evolution.mutations import MUTATIONS, STRUCTURAL
from studies.evolution.networks import Architecture, first_weights
from studies.evolution.projections import Projections, Task, accuracy
from studies.evolution.seed_chains import first_network

__all__ = ["search_architectures", "train_alone"]

MOST_CHANGES = 3
BREED = 2


def train_alone(
    task: Task,
    start: Architecture,
    evaluations: float,
    seed: int,
    *,
    batch: int = 32,
    learning_rate: float = 0.01,
    progress: Progress = silent,
) -> Course:
    """Train one network by RMSprop until so many evaluations are spent."""
    network = Individual.of(first_network(seed, start, 0))
    course, meter = Course(network), Meter(evaluations, start, progress)
    batch_of = batches(task.train, batch, seed, "batch")
    meter.check(course, task, [network])
    while meter.left:
        network = _stepped(network, next(batch_of), learning_rate, meter)
        meter.check(course, task, [network])
    return course


def search_architectures(
    task: Task,
    start: Architecture,
    evaluations: float,
    seed: int,
    *,
    trials: int = 20,
    batch: int = 32,
    learning_rate: float = 0.01,
    progress: Progress = silent,
) -> Course:
    """Evolve the architecture alone: each is trained by RMSprop from new weights, for an equal share of the budget.

    An architecture is one of the two best so far, with up to three changes.
    """
    first = Individual.of(first_network(seed, start, 0))
    course, meter = Course(first), Meter(evaluations, start, progress)
    meter.check(course, task, [first])
    tried: list[tuple[float, Architecture]] = []
    for trial in range(trials):
        architecture = start if not tried else _changed(tried, stream(seed, "architecture", trial))
        weights_W = first_weights(architecture, stream(seed, "weights", trial))
        network = Individual.of((architecture, weights_W))
        batch_of: Iterator[Projections] = batches(task.train, batch, seed, f"batch {trial}")
        while meter.spent < evaluations * (trial + 1) / trials:
            network = _stepped(network, next(batch_of), learning_rate, meter)
            meter.check(course, task, [network])
        predicted_B = answers([network], task.validation)[0]
        tried.append((accuracy(predicted_B, task.validation.energy_B).rmse_GeV, architecture))
    return course


def _changed(tried: list[tuple[float, Architecture]], draws: np.random.Generator) -> Architecture:
    best = sorted(tried, key=lambda pair: pair[0])[:BREED]
    architecture = best[int(draws.integers(len(best)))][1]
    for _ in range(int(draws.integers(1, MOST_CHANGES + 1))):
        kind = str(draws.choice(STRUCTURAL))
        empty_W = np.zeros(architecture.n_weights, np.float32)
        architecture, _ = MUTATIONS[kind](architecture, empty_W, 0.0, draws)
    return architecture


def _stepped(
    network: Individual, showers: Projections, learning_rate: float, meter: Meter
) -> Individual:
    meter.add(network.architecture, GRADIENT_COST * len(showers))
    return network.descended([showers], learning_rate)
