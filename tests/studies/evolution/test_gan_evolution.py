from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from caloforge.files.shower_file import read
from caloforge.models.base import ShowerModel
from caloforge.showers import Conditions, Showers
from studies.evolution.gan_evolution import GanProblem
from studies.evolution.gan_fitness import WORST, ShowerFitness
from studies.evolution.steady_state import Population


class Copies(ShowerModel):
    """Gives showers that it was told."""

    def __init__(self, deposits: NDArray[np.float32]) -> None:
        super().__init__()
        self._deposits = deposits

    def forward(self, *_: Any) -> Any:
        raise NotImplementedError

    def sample(self, conditions: Conditions, seed: int, first: int = 0, forward: Any = None) -> Any:
        return self._deposits


@pytest.fixture
def showers(shower_file: Path) -> Showers:
    return read(shower_file)


def test_fitness_tells_wrong_means_from_want_of_diversity(showers: Showers) -> None:
    fitness = ShowerFitness(showers, 1)
    assert fitness(Copies(showers.deposits)) == {"physics": 0, "diversity": 0, "fitness": 0}
    brighter = fitness(Copies(1.3 * showers.deposits))
    assert brighter["physics"] > 0.05
    # Each shower is the same in its quarter of the energy, but for a little.
    order = np.argsort(showers.incident_energy)
    alike = showers.deposits.copy()
    for quarter in np.array_split(order, 4):
        alike[quarter] = (
            showers.deposits[quarter].mean(axis=0)
            * np.linspace(0.99, 1.01, len(quarter)).astype(np.float32)[:, None, None, None]
        )
    assert fitness(Copies(alike))["diversity"] > 1
    dead = fitness(Copies(np.zeros_like(showers.deposits)))
    assert dead["physics"] > brighter["physics"]
    assert dead["diversity"] == pytest.approx(WORST, abs=1)
    assert all(np.isfinite(value) for value in dead.values())


@pytest.mark.parametrize("parents", [0, 2])
def test_a_seed_decides_the_networks(tmp_path: Path, shower_file: Path, parents: int) -> None:
    found = []
    for name in ("one", "two"):
        problem = GanProblem(shower_file, 1, parents, steps=2, batch=4)
        generators = Population(problem, tmp_path / name, 4)
        *_, notes = generators.grow()
        alive = generators.members
        found.append(
            (
                [(notes[n]["fitness"], notes[n]["learning_rate"]) for n in sorted(notes)],
                [member.number for member in alive],
            )
        )
        judged = problem.judge(alive[0], None)
        assert all(np.isfinite(value) for value in judged.values())
    assert found[0] == found[1]
    rates = {rate for _, rate in found[0][0]}
    assert len(rates) == (1 if parents == 0 else 4)
    fitness = [value for value, _ in found[0][0]]
    best = sorted(range(4), key=lambda n: fitness[n])
    assert found[0][1] == (sorted({best[0], 3}) if parents == 0 else best[:2])


def test_alone_is_a_training_without_a_break(tmp_path: Path, shower_file: Path) -> None:
    problem = GanProblem(shower_file, 1, 0, steps=2, batch=4)
    generators = Population(problem, tmp_path / "run", 3)
    for _ in generators.grow():
        pass
    tensors = generators.members[-1].tensors()
    steps = {int(value) for name, value in tensors.items() if name.endswith(".step")}
    assert steps == {3 * 2}
    assert replace(problem, parents=3).manifest != problem.manifest
