"""The genetic algorithm: in each generation the best of parents and children on a batch become the parents.

The rate of mutation follows Rechenberg's rule: it grows where more than a fifth of the children are better than their
parent, and shrinks where fewer are. Some children may take gradient steps instead, and are judged like the others.

Cost is counted in *evaluations*: one shower through a network of the default layers. A network with other layers
costs by its multiplications; a gradient step three times its showers, for forward and backward.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream
from studies.evolution.gradients import GRADIENT_COST, descend
from studies.evolution.mutations import STRUCTURAL, Network, cross
from studies.evolution.networks import Architecture, Weights, predict
from studies.evolution.projections import EnergyData, Projections, accuracy
from studies.evolution.seed_chains import Gene, SeedChain, first_network, mutate

__all__ = [
    "WORST_GEV",
    "Budget",
    "Individual",
    "LearningCurve",
    "Recipe",
    "batches",
    "evolve",
    "mutated",
    "predict_all",
]

SUCCESS, PATIENCE = 0.2, 0.3
"""Of the children should be better; how fast the rate follows."""

LOWEST_RATE = 1e-4
CHECKS = 25

WORST_GEV = 1e9
"""Stands for an error that is no number, which JSON cannot keep."""


@dataclass(frozen=True)
class Recipe:
    """How to evolve.

    ``offspring`` children come from ``parents`` in each generation, each by a ``mutation`` of weights; ``crossover``
    and ``structure`` are the probabilities that two parents mix before it, and that its architecture changes. With the
    probability ``gradient`` a child takes ``gradient_steps`` of RMSprop instead of the mutation of weights.
    """

    parents: int = 2
    offspring: int = 8
    batch: int = 32
    mutation: Literal["update", "renew"] = "renew"
    crossover: float = 0.0
    structure: float = 0.0
    gradient: float = 0.0
    gradient_steps: int = 10
    learning_rate: float = 0.01
    first_rate: float = 0.1


class Lineage(NamedTuple):
    """The genes of an individual, newest first; relatives share what they have in common."""

    gene: Gene
    before: Lineage | None


@dataclass(frozen=True, eq=False)
class Individual:
    """A network with what RMSprop remembers of it, and where it comes from: None where a chain cannot say."""

    architecture: Architecture
    weights_W: Weights
    squares_W: Weights
    first: int | None = None
    lineage: Lineage | None = None

    @classmethod
    def of(
        cls, network: Network, first: int | None = None, lineage: Lineage | None = None
    ) -> Individual:
        """Begin without any gradient steps."""
        architecture, weights_W = network
        return cls(architecture, weights_W, np.zeros_like(weights_W), first, lineage)

    def descended(self, taken: Iterable[Projections], learning_rate: float) -> Individual:
        """Take a step of RMSprop on each batch; no chain tells of it."""
        weights_W, squares_W = descend(
            self.architecture, self.weights_W, self.squares_W, taken, learning_rate
        )
        return Individual(self.architecture, weights_W, squares_W)

    def chain(self, seed: int, start: Architecture) -> SeedChain | None:
        """Return the chain that grows this network, if one does."""
        if self.first is None:
            return None
        genes, lineage = list[Gene](), self.lineage
        while lineage is not None:
            genes.append(lineage.gene)
            lineage = lineage.before
        return SeedChain(seed, start, self.first, tuple(reversed(genes)))


@dataclass
class LearningCurve:
    """How a run went: at each check the evaluations, the processor's seconds and the lowest RMSE (GeV) so far.

    The RMSE is that of the validation part, and ``best`` the network that had it.
    """

    best: Individual
    evaluations: list[float] = field(default_factory=list)
    core_s: list[float] = field(default_factory=list)
    rmse_GeV: list[float] = field(default_factory=list)

    def check(
        self, data: EnergyData, population: Sequence[Individual], evaluations: float, core_s: float
    ) -> None:
        """Note how good the best of some networks is, and keep it if none was better."""
        predicted_PB = predict_all(population, data.validation)
        errors = [accuracy(row_B, data.validation.energy_B).rmse_GeV for row_B in predicted_PB]
        errors = [error if np.isfinite(error) else np.inf for error in errors]
        best = int(np.argmin(errors))
        lowest = min(self.rmse_GeV, default=WORST_GEV)
        if errors[best] < lowest:
            self.best = population[best]
        self.evaluations.append(evaluations)
        self.core_s.append(core_s)
        self.rmse_GeV.append(min(errors[best], lowest))

    def average(self) -> float:
        """Average the RMSE over the curve, both in logarithms, from a hundredth of the cost on: low where it falls early."""
        due = np.array(checks_of(self.evaluations[-1]))
        last = np.searchsorted(self.evaluations, due, side="right") - 1
        return float(np.exp(np.log(np.array(self.rmse_GeV)[last]).mean()))


def checks_of(evaluations: float) -> list[float]:
    """Return the costs at which a run is checked: evenly in the logarithm, from a hundredth of the budget on."""
    return [*(evaluations * np.logspace(-2, 0, CHECKS)[:-1]).tolist(), evaluations]


class Budget:
    """Counts the cost of a run, and says when a check is due; checks themselves cost nothing."""

    def __init__(self, evaluations: float, start: Architecture, progress: Progress = silent) -> None:
        self.budget, self.spent = evaluations, 0.0
        self._unit = Architecture(start.patches, start.cells).multiply_adds
        self._due = [0.0, *checks_of(evaluations)]
        self._core_s, self._began = 0.0, time.process_time()
        self._progress = progress

    @property
    def left(self) -> bool:
        """Whether there is budget left."""
        return self.spent < self.budget

    def add(self, architecture: Architecture, showers: int) -> None:
        """Count a pass of showers through a network."""
        self.spent += showers * architecture.multiply_adds / self._unit

    def check(self, curve: LearningCurve, data: EnergyData, population: Sequence[Individual]) -> None:
        """Let a curve note the population where a check is due."""
        if not self._due or self.spent < self._due[0]:
            return
        self._core_s += time.process_time() - self._began
        curve.check(data, population, self.spent, self._core_s)
        self._due = [due for due in self._due if due > self.spent]
        self._progress(int(min(self.spent, self.budget)), int(self.budget), rmse_GeV=curve.rmse_GeV[-1])
        self._began = time.process_time()


def evolve(
    data: EnergyData,
    start: Architecture,
    evaluations: float,
    seed: int,
    *,
    recipe: Recipe,
    progress: Progress = silent,
) -> LearningCurve:
    """Evolve networks until so many evaluations are spent; the same seed gives the same networks."""
    population = [
        Individual.of(first_network(seed, start, number), number) for number in range(recipe.parents)
    ]
    curve = LearningCurve(population[0])
    budget = Budget(evaluations, start, progress)
    batch_of = batches(data.train, recipe.batch, seed, "batch")
    births = Births(recipe, seed, batch_of, budget)
    rate, generation = np.float32(recipe.first_rate), 0
    budget.check(curve, data, population)
    while budget.left:
        showers, born = next(batch_of), births(population, float(rate), generation)
        everyone = [*population, *(birth.child for birth in born)]
        for each in everyone:
            budget.add(each.architecture, len(showers))
        loss_P = (predict_all(everyone, showers) - showers.energy_B).square().mean(1).numpy()
        loss_P = np.where(np.isfinite(loss_P), loss_P, np.inf)
        better = [
            loss < loss_P[birth.parent]
            for birth, loss in zip(born, loss_P[recipe.parents :], strict=True)
            if birth.mutated
        ]
        if better:
            grown = rate * np.exp(PATIENCE * (np.mean(better) - SUCCESS))
            rate = np.float32(np.clip(grown, LOWEST_RATE, 1))  # as genes keep it
        population = [everyone[i] for i in np.argsort(loss_P, kind="stable")[: recipe.parents]]
        generation += 1
        budget.check(curve, data, population)
    return curve


def predict_all(population: Sequence[Individual], showers: Projections) -> torch.Tensor:
    """Return all networks' predict_all (P, B), those of one architecture together."""
    places: dict[Architecture, list[int]] = {}
    for place, each in enumerate(population):
        places.setdefault(each.architecture, []).append(place)
    answer_PB = torch.empty(len(population), len(showers))
    for architecture, rows in places.items():
        weights_PW = torch.from_numpy(np.stack([population[row].weights_W for row in rows]))
        answer_PB[rows] = predict(architecture, weights_PW, showers.patches_BNK)
    return answer_PB


def batches(showers: Projections, size: int, seed: int, name: str) -> Iterator[Projections]:
    """Draw batches without end; one of all showers or more is all of them."""
    step = 0
    while True:
        if size >= len(showers):
            yield showers
        else:
            chosen: NDArray[np.int64] = stream(seed, name, step).integers(len(showers), size=size)
            yield showers[chosen]
        step += 1


class Birth(NamedTuple):
    """A child, the place of its parent, and whether its weights were mutated."""

    child: Individual
    parent: int
    mutated: bool


@dataclass(frozen=True)
class Births:
    """Makes the children of a generation; gradient steps take their batches and count their cost."""

    recipe: Recipe
    seed: int
    batch_of: Iterator[Projections]
    budget: Budget

    def __call__(self, population: Sequence[Individual], rate: float, generation: int) -> list[Birth]:
        """Make them, with mutations of this rate."""
        recipe, draws = self.recipe, stream(self.seed, "children", generation)
        born = []
        for number in range(recipe.offspring):
            place, other = (int(n) for n in draws.integers(len(population), size=2))
            child, gene = population[place], Gene(recipe.mutation, generation, number, rate)
            if draws.random() < recipe.crossover:
                child = crossed(child, population[other], draws)
            if draws.random() < recipe.structure:
                child = mutated(self.seed, child, gene._replace(kind=str(draws.choice(STRUCTURAL))))
            by_gradient = bool(draws.random() < recipe.gradient)
            child = self._trained(child) if by_gradient else mutated(self.seed, child, gene)
            born.append(Birth(child, place, not by_gradient))
        return born

    def _trained(self, child: Individual) -> Individual:
        taken = [next(self.batch_of) for _ in range(self.recipe.gradient_steps)]
        self.budget.add(child.architecture, GRADIENT_COST * sum(map(len, taken)))
        return child.descended(taken, self.recipe.learning_rate)


def crossed(one: Individual, other: Individual, draws: np.random.Generator) -> Individual:
    """Mix two individuals where they are of one architecture; no chain tells of it."""
    if other is one or other.architecture != one.architecture:
        return one
    return Individual(one.architecture, cross(one.weights_W, other.weights_W, draws), one.squares_W)


def mutated(seed: int, each: Individual, gene: Gene) -> Individual:
    """Mutate an individual; where its architecture changes RMSprop begins again."""
    architecture, weights_W = mutate(seed, (each.architecture, each.weights_W), gene)
    squares_W = each.squares_W if architecture == each.architecture else np.zeros_like(weights_W)
    lineage = None if each.first is None else Lineage(gene, each.lineage)
    return Individual(architecture, weights_W, squares_W, each.first, lineage)
