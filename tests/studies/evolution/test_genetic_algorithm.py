from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from studies.evolution.baselines import search_architectures, train_by_gradient
from studies.evolution.genetic_algorithm import (
    Individual,
    LearningCurve,
    Recipe,
    batches,
    evolve,
    predict_all,
)
from studies.evolution.gradients import descend
from studies.evolution.networks import Architecture, predict
from studies.evolution.projections import EnergyData
from studies.evolution.seed_chains import first_network

START = Architecture(4, 25)
RECIPES = {
    "renew": Recipe(batch=8),
    "update": Recipe(batch=8, mutation="update"),
    "crossover": Recipe(batch=8, parents=4, crossover=0.5),
    "hybrid": Recipe(batch=8, gradient=0.3, gradient_steps=2),
    "structure": Recipe(batch=8, structure=0.5),
}


def ends(curve: LearningCurve) -> tuple[object, ...]:
    return curve.best.weights_W.tobytes(), curve.evaluations, curve.rmse_GeV


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_seed_decides_everything_and_evolution_learns(name: str, energy_data: EnergyData) -> None:
    one, same, other = (
        evolve(energy_data, START, 8000, seed, recipe=RECIPES[name]) for seed in (1, 1, 2)
    )
    assert ends(one) == ends(same) != ends(other)
    assert one.rmse_GeV[-1] < 0.7 * one.rmse_GeV[0]
    assert one.evaluations[0] == 0
    assert 8000 <= one.evaluations[-1] < 9000
    assert one.rmse_GeV == sorted(one.rmse_GeV, reverse=True)
    assert np.isfinite(one.average())
    assert (name == "structure") == (len({START, one.best.architecture}) == 2)


def test_alone_and_architecture_alone_repeat_too(energy_data: EnergyData) -> None:
    for run in (train_by_gradient, search_architectures):
        one, same, other = (run(energy_data, START, 6000, seed) for seed in (1, 1, 2))
        assert ends(one) == ends(same) != ends(other)
        assert one.rmse_GeV[-1] < one.rmse_GeV[0]


def test_costs_are_counted_by_multiplications(energy_data: EnergyData) -> None:
    wide = replace(START, channels=8, hidden=(32,))
    recipe = Recipe(parents=1, offspring=3, batch=10)
    unit = wide.multiply_adds / START.multiply_adds
    curve = evolve(energy_data, wide, 1.0, 1, recipe=recipe)
    assert curve.evaluations[-1] == pytest.approx(4 * 10 * unit)
    gradient = replace(recipe, gradient=1.0, gradient_steps=5)
    curve = evolve(energy_data, wide, 1.0, 1, recipe=gradient)
    assert curve.evaluations[-1] == pytest.approx((4 * 10 + 3 * 5 * 3 * 10) * unit)
    assert train_by_gradient(energy_data, wide, 1.0, 1, batch=10).evaluations[-1] == pytest.approx(
        30 * unit
    )


def test_mutations_leave_a_chain_and_gradients_do_not(energy_data: EnergyData) -> None:
    curve = evolve(energy_data, START, 8000, 1, recipe=replace(RECIPES["structure"], parents=3))
    chain = curve.best.chain(1, START)
    assert chain is not None
    assert chain.genes
    architecture, weights_W = chain.grow()
    assert architecture == curve.best.architecture
    assert weights_W.tobytes() == curve.best.weights_W.tobytes()
    assert (
        evolve(energy_data, START, 3000, 1, recipe=Recipe(batch=8, gradient=1.0)).best.chain(1, START)
        is None
    )


def test_networks_of_several_architectures_are_answered_in_their_places(energy_data: EnergyData) -> None:
    sizes = (START, replace(START, channels=2), START, replace(START, bias=True))
    several = [Individual.of(first_network(1, each, n)) for n, each in enumerate(sizes)]
    together = predict_all(several, energy_data.validation)
    for row, each in zip(together, several, strict=True):
        torch.testing.assert_close(row, predict_all([each], energy_data.validation)[0])


def test_a_step_of_RMSprop_is_that_of_torch(energy_data: EnergyData) -> None:
    _, weights_W = first_network(1, START, 0)
    weights = torch.tensor(weights_W)[None].requires_grad_()
    optimizer = torch.optim.RMSprop([weights], lr=0.01, alpha=0.9, eps=1e-7)
    batch_of = batches(energy_data.train, 8, 1, "batch")
    taken = [next(batch_of) for _ in range(3)]
    for showers in taken:
        loss = (predict(START, weights, showers.patches_BNK) - showers.energy_B).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    found_W, _ = descend(START, weights_W, np.zeros_like(weights_W), taken, 0.01)
    np.testing.assert_allclose(found_W, weights.detach()[0].numpy(), rtol=1e-4, atol=1e-6)


def test_a_large_batch_is_all_showers(energy_data: EnergyData) -> None:
    assert next(batches(energy_data.train, 1000, 1, "batch")) is energy_data.train
    small = batches(energy_data.train, 8, 1, "batch")
    one, other = next(small), next(small)
    assert len(one) == 8
    assert not torch.equal(one.energy_B, other.energy_B)
