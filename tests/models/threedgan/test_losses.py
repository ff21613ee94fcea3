from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import Grid
from caloforge.models.registry import MODELS
from caloforge.models.threedgan.losses import AdversarialObjective, Losses, SamplingFraction, mape
from caloforge.showers.batch import Batch, Given

GRID = Grid("small", (9, 9, 11))
BATCH = 4


def objective(model: str = "3dgan", grid: Grid = GRID, **weights: float) -> AdversarialObjective:
    torch.manual_seed(3)
    family = MODELS[model]
    kind: type[Losses] = family.settings.model_fields["objective"].annotation
    return AdversarialObjective(
        family.build(grid, 0.001),
        family.build_critic(grid),
        kind(**weights),
        SamplingFraction(0.02, 0.0),
        (10e3, 500e3),
    )


def batch(grid: Grid = GRID) -> Batch:
    return Batch(
        deposits_BXYZ=torch.rand(BATCH, *grid.shape),
        given=Given.of(torch.linspace(50e3, 400e3, BATCH), torch.linspace(1.2, 1.9, BATCH)),
    )


def test_mape_divides_by_the_truth_and_not_by_the_prediction() -> None:
    assert mape(torch.tensor([50.0]), torch.tensor([100.0])).item() == pytest.approx(50)
    assert mape(torch.tensor([100.0]), torch.tensor([50.0])).item() == pytest.approx(100)


def test_loss_steps_are_those_of_the_published_code() -> None:
    trained = objective()
    loss_steps = [loss_step.network for loss_step in trained.losses(batch())]
    assert loss_steps == ["critic", "critic", "generator", "generator"]
    assert trained.weights == {"real_or_fake": 6.0, "energy": 0.2, "deposit": 0.1}
    wide = Grid("wide", (18, 20, 12))
    tilted = objective("3dgan-angle", wide)
    assert tilted.weights == {"real_or_fake": 3.0, "energy": 0.1, "deposit": 0.1, "angle": 25.0}
    assert "generator.angle" in list(tilted.losses(batch(wide)))[-1].terms


def test_loss_is_the_weighted_sum_of_the_terms_shown() -> None:
    trained = objective(real_or_fake=2.0, energy=0.5, deposit=0.25)
    for loss_step in trained.losses(batch()):
        weighted = sum(
            trained.weights[name.rpartition(".")[2]] * float(term)
            for name, term in loss_step.terms.items()
        )
        assert float(loss_step.loss.detach()) == pytest.approx(weighted, rel=1e-5)


def test_fakes_are_detached_in_the_critics_step_and_the_critic_is_frozen_in_the_generators() -> None:
    trained = objective()
    generator, critic = trained.networks["generator"], trained.networks["critic"]
    for loss_step in trained.losses(batch()):
        for network in (generator, critic):
            network.zero_grad(set_to_none=True)
        loss_step.loss.backward()  # type: ignore[no-untyped-call]
        learns, rests = (critic, generator) if loss_step.network == "critic" else (generator, critic)
        assert all(p.grad is None for p in rests.parameters())
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learns.parameters())


def test_the_generators_step_leaves_the_critics_statistics_alone() -> None:
    trained = objective()
    loss_steps = trained.losses(batch())
    next(loss_steps), next(loss_steps)
    before = {k: v.clone() for k, v in trained.networks["critic"].state_dict().items()}
    list(loss_steps)
    after = trained.networks["critic"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trained.networks["critic"].training


def test_each_shower_is_compared_with_its_own_energy_alone() -> None:
    # A (B, 1, 1) label against a (B, 1) guess would broadcast to every pair of showers.
    trained = objective(label_flips=0.0, real_or_fake=0.0)
    real = batch()

    class PerfectCritic(torch.nn.Module):
        def forward(self, image_BXYZ: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (
                torch.zeros(BATCH, requires_grad=True),
                real.given.energy_B / 100e3,
                image_BXYZ.sum((1, 2, 3)),
            )

    trained._critic = PerfectCritic()
    first = next(iter(trained.losses(real)))
    assert float(first.terms["critic.real.energy"]) == pytest.approx(0, abs=1e-5)
    assert float(first.terms["critic.real.real_or_fake"]) == pytest.approx(math.log(2), rel=1e-5)


def test_label_flips_come_at_their_rate() -> None:
    trained = objective(label_flips=0.25)
    flipped = trained._flipped(torch.ones(20_000))
    assert 1 - float(flipped.mean()) == pytest.approx(0.25, abs=0.02)


@given(
    constant=st.floats(0.005, 0.2),
    slope=st.floats(-0.002, 0.002),
    energy=st.lists(st.floats(2e3, 5e5), min_size=3, max_size=30, unique=True),
)
def test_sampling_fraction_is_recovered_from_exact_deposits(
    constant: float, slope: float, energy: list[float]
) -> None:
    energy_N = np.array(energy)
    truth = SamplingFraction(constant, slope if np.ptp(np.log(energy_N)) > 1e-2 else 0.0)
    deposit_N = truth.deposit(torch.from_numpy(energy_N)).numpy()
    fitted = SamplingFraction.fit(deposit_N, energy_N)
    assert fitted.deposit(torch.from_numpy(energy_N)).numpy() == pytest.approx(deposit_N, rel=1e-5)


@pytest.mark.parametrize("n_showers", [1, 3])
def test_showers_of_one_energy_have_a_constant_sampling_fraction(n_showers: int) -> None:
    fitted = SamplingFraction.fit(np.linspace(900, 1100, n_showers), np.full(n_showers, 50e3))
    assert fitted.slope == 0
    assert fitted.constant == pytest.approx(np.linspace(900, 1100, n_showers).mean() / 50e3)
