"""A genetic search in which children go on with their parents' weights.

There are no generations: whenever a worker is free, the best trials so far are the population, from which a
tournament picks a parent. Its child is larger in one size, by a mutation that keeps what the network does
(:mod:`caloforge.models.shared.growth`), or has other settings of the training, its own or another parent's. It inherits
the weights and trains for a short burst. Now and then a newcomer is drawn at random.

Sources: steady state and tournaments, E. Real et al., ICML 2017; ranking, K. Deb et al. 2002 (NSGA-II).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caloforge.foundations.randomness import stream
from caloforge.models.registry import MODELS
from caloforge.search.space import MODEL, Choice, Parameter, Space, Value
from caloforge.search.trials import Proposal, Trial, standings

__all__ = ["BURST", "evolve_one"]

BURST = 1 / 3
"""Part of a trial's budget that each life gets."""

POPULATION = 8
NEWCOMERS, GROWTH, CROSSOVER = 0.15, 0.5, 0.3
"""Chances of a newcomer, that a child is larger, that another parent gives the settings of its training."""

SPREAD = 0.15
"""Of a changed setting that goes from 0 to 1."""

SIZE = "architecture."


def evolve_one(trials: Sequence[Trial], space: Space, seed: int) -> Proposal:
    """Propose a child, or a newcomer."""
    rng = stream(seed, "evolution", len(trials))
    population = standings(trials)[:POPULATION]
    if not population or rng.random() < NEWCOMERS:
        return Proposal(space.drawn(rng), part=BURST)
    parent = population[min(rng.integers(len(population), size=2))]
    choice = dict(parent.choice)
    mates = [other for other in population if other.choice[MODEL] == choice[MODEL] and other != parent]
    if mates and rng.random() < CROSSOVER:
        other = mates[rng.integers(len(mates))].choice
        choice |= {name: other[name] for name, _ in space.of(choice) if SIZE not in name}
    growths = list(_growths(choice, space, rng))
    if growths and rng.random() < GROWTH:
        name, value = growths[rng.integers(len(growths))]
        choice[name] = value
    else:
        _change_training(choice, space, rng)
    return Proposal(choice, parent.number, BURST)


def _growths(choice: Choice, space: Space, rng: np.random.Generator) -> list[tuple[str, Value]]:
    """List larger values of the sizes that can grow."""
    found: list[tuple[str, Value]] = []
    sizes = MODELS[str(choice[MODEL])].sizes()
    for name, parameter in space.of(choice):
        size = name.rpartition(".")[2]
        if SIZE not in name or size in sizes.fixed:
            continue
        larger = [value for value in _larger(parameter, choice[name], rng) if value]
        if size in sizes.multiples:
            larger = [value for value in larger if int(value) % int(choice[name]) == 0]
        if larger:
            found.append((name, larger[0]))
    return found


def _larger(parameter: Parameter, value: Value, rng: np.random.Generator) -> list[Value]:
    """Return values above one, the nearest to what is drawn first."""
    assert not isinstance(value, str)
    if parameter.choices:
        return sorted(
            other for other in parameter.choices if not isinstance(other, str) and other > value
        )
    other = parameter.at(parameter.place(value) + rng.uniform(0.05, 0.3))
    if not isinstance(other, str) and other > value:
        return [other]
    following = parameter.nearest(int(value) + 1)
    return [following] if not isinstance(following, str) and following > value else []


def _change_training(choice: Choice, space: Space, rng: np.random.Generator) -> None:
    """Move each setting of the training a little; choices to a neighbour, if at all."""
    for name, parameter in space.of(choice):
        if SIZE in name:
            continue
        place = parameter.place(choice[name])
        if parameter.choices:
            place += rng.integers(-1, 2) / len(parameter.choices)
        else:
            place += rng.normal(0, SPREAD)
        choice[name] = parameter.at(place)
