"""What a method knows: the trials so far; and what it gives: the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.randomness import stream
from caloforge.search.space import Choice, Space

__all__ = ["Proposal", "Proposer", "State", "Trial", "draw", "front_ranks", "standings"]

State = Literal["running", "done", "stopped", "failed"]
"""``stopped``: given up early as hopeless."""


@dataclass(frozen=True)
class Proposal:
    """A choice to try with a ``part`` of a trial's budget, beginning with the weights of the trial ``parent``.

    ``memo`` is what the method wants to find again beside the trial, in JSON's terms.
    """

    choice: Choice
    parent: int | None = None
    part: float = 1.0
    memo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A trial in the store: ``objectives`` (small is good) once it is done, ``notes`` of what is known besides."""

    number: int
    proposal: Proposal
    state: State
    objectives: tuple[float, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parent: object = self.proposal.parent
        if parent is not None and not (isinstance(parent, int) and 0 <= parent < self.number):
            raise CaloforgeError(f"trial {self.number}: expected an earlier trial as its parent")

    @property
    def choice(self) -> Choice:
        """What was chosen."""
        return self.proposal.choice

    @property
    def core_seconds(self) -> float:
        """What it cost, as far as it is noted."""
        costs = (note["core_seconds"] for name, note in self.notes.items() if name in COSTS)
        return float(sum(costs))


COSTS = ("plan", "stage 0", "stage 1", "stage 2", "judged")
"""Notes of what was done in a trial, each with its ``core_seconds``."""


class Proposer(Protocol):
    """A method of search: it remembers nothing, so that any worker may go on where others are."""

    def __call__(self, trials: Sequence[Trial], space: Space, seed: int) -> Proposal:
        """Propose the next trial; all randomness derives from ``seed`` and from how many trials there are."""


def draw(trials: Sequence[Trial], space: Space, seed: int) -> Proposal:
    """Propose at random, what every method must beat."""
    return Proposal(space.drawn(stream(seed, "random search", len(trials))))


def front_ranks(objectives_TO: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the fronts by number: 0 for what nothing beats in all objectives, 1 for what only front 0 beats, ...

    Source: K. Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE Trans. Evol.
    Comput. 6 (2002) 182.
    """
    no_worse = (objectives_TO[:, None] <= objectives_TO[None]).all(2)
    better_TT = np.asarray(no_worse & (objectives_TO[:, None] < objectives_TO[None]).any(2))
    ranks, left = np.full(len(objectives_TO), -1, np.int64), np.ones(len(objectives_TO), np.bool_)
    rank = 0
    while left.any():
        front = left & ~better_TT[left].any(0)
        ranks[front], left[front] = rank, False
        rank += 1
    return ranks


def crowding(objectives_TO: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far from each other the neighbours of each of a front are, infinite at its ends (NSGA-II)."""
    distance = np.zeros(len(objectives_TO))
    for values in objectives_TO.T:
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
    return distance


def standings(trials: Sequence[Trial]) -> list[Trial]:
    """Sort the trials that are done, best first: by front, then those with the most room around them."""
    done = [trial for trial in trials if trial.state == "done"]
    if not done:
        return []
    values_TO = np.array([trial.objectives for trial in done])
    ranks, room = front_ranks(values_TO), np.zeros(len(done))
    for rank in range(ranks.max() + 1):
        room[ranks == rank] = crowding(values_TO[ranks == rank])
    if values_TO.shape[1] == 1:
        room[:] = 0  # equal ones, of which the first came first
    return [done[i] for i in np.lexsort((np.arange(len(done)), -room, ranks))]
