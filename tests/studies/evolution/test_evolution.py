from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studies.evolution.baselines import search_architectures, train_alone
from studies.evolution.evolution import Course, Individual, Recipe, answers, batches, evolve
from studies.evolution.gradients import descend
from studies.evolution.networks import Architecture, predict
from studies.evolution.projections import Task
from studies.evolution.seed_chains import first_network

START = Architecture(4, 25)
RECIPES = {
    "renew": Recipe(batch=8),
    "update": Recipe(batch=8, mutation="update"),
    "crossover": Recipe(batch=8, parents=4, crossover=0.5),
    "hybrid": Recipe(batch=8, gradient=0.3, gradient_steps=2),
    "structure": Recipe(batch=8, structure=0.5),
}


def ends(course: Course) -> tuple[object, ...]:
    return course.best.weights_W.tobytes(), course.evaluations, course.rmse_GeV


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_seed_decides_everything_and_evolution_learns(name: str, task: Task) -> None:
    one, same, other = (evolve(task, RECIPES[name], START, 8000, seed) for seed in (1, 1, 2))
    assert ends(one) == ends(same) != ends(other)
    assert one.rmse_GeV[-1] < 0.7 * one.rmse_GeV[0]
    assert one.evaluations[0] == 0
    assert 8000 <= one.evaluations[-1] < 9000
    assert one.rmse_GeV == sorted(one.rmse_GeV, reverse=True)
    assert np.isfinite(one.average())
    assert (name == "structure") == (len({START, one.best.architecture}) == 2)


def test_alone_and_architecture_alone_repeat_too(task: Task) -> None:
    for run in (train_alone, search_architectures):
        one, same, other = (run(task, START, 6000, seed) for seed in (1, 1, 2))
        assert ends(one) == ends(same) != ends(other)
        assert one.rmse_GeV[-1] < one.rmse_GeV[0]


def test_costs_are_counted_by_multiplications(task: Task) -> None:
    wide = replace(START, channels=8, hidden=(32,))
    recipe = Recipe(parents=1, offspring=3, batch=10)
    unit = wide.multiply_adds / START.multiply_adds
    course = evolve(task, recipe, wide, 1.0, 1)
    assert course.evaluations[-1] == pytest.approx(4 * 10 * unit)
    gradient = replace(recipe, gradient=1.0, gradient_steps=5)
    course = evolve(task, gradient, wide, 1.0, 1)
    assert course.evaluations[-1] == pytest.approx((4 * 10 + 3 * 5 * 3 * 10) * unit)
    assert train_alone(task, wide, 1.0, 1, batch=10).evaluations[-1] == pytest.approx(30 * unit)


def test_mutations_leave_a_chain_and_gradients_do_not(task: Task) -> None:
    course = evolve(task, replace(RECIPES["structure"], parents=3), START, 8000, 1)
    chain = course.best.chain(1, START)
    assert chain is not None
    assert chain.genes
    architecture, weights_W = chain.grow()
    assert architecture == course.best.architecture
    assert weights_W.tobytes() == course.best.weights_W.tobytes()
    assert evolve(task, Recipe(batch=8, gradient=1.0), START, 3000, 1).best.chain(1, START) is None


def test_networks_of_several_architectures_are_answered_in_their_places(task: Task) -> None:
    sizes = (START, replace(START, channels=2), START, replace(START, bias=True))
    several = [Individual.of(first_network(1, each, n)) for n, each in enumerate(sizes)]
    together = answers(several, task.validation)
    for row, each in zip(together, several, strict=True):
        torch.testing.assert_close(row, answers([each], task.validation)[0])


def test_a_step_of_RMSprop_is_that_of_torch(task: Task) -> None:
    _, weights_W = first_network(1, START, 0)
    weights = torch.tensor(weights_W)[None].requires_grad_()
    optimizer = torch.optim.RMSprop([weights], lr=0.01, alpha=0.9, eps=1e-7)
    batch_of = batches(task.train, 8, 1, "batch")
    taken = [next(batch_of) for _ in range(3)]
    for showers in taken:
        loss = (predict(START, weights, showers.patches_BNK) - showers.energy_B).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found_W, _ = descend(START, weights_W, np.zeros_like(weights_W), taken, 0.01)
    np.testing.assert_allclose(found_W, weights.detach()[0].numpy(), rtol=1e-4, atol=1e-6)


def test_a_large_batch_is_all_showers(task: Task) -> None:
    assert next(batches(task.train, 1000, 1, "batch")) is task.train
    small = batches(task.train, 8, 1, "batch")
    one, other = next(small), next(small)
    assert len(one) == 8
    assert not torch.equal(one.energy_B, other.energy_B)
