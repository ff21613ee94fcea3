"""The relativistic objective: its losses by hand, its penalties in closed form, and training that gets nearer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.files.tensors import load_tensors
from caloforge.models.base import ShowerModel
from caloforge.models.registry import MODELS
from caloforge.models.shared.transforms import Transform
from caloforge.showers.batch import Batch, Given
from caloforge.training.config import load_config
from caloforge.training.trainer import train
from studies import mixer_gan
from studies.mixer_gan.adversarial import RelativisticObjective
from studies.mixer_gan.critic import ShowerCritic, View

GRID = Grid("block", (3, 3, 2), cell_size=(5.0, 5.0))


class Glow(ShowerModel):
    """Puts a learned energy with some noise into every cell."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.transform = GRID, 0.0, Transform(0.5)
        self.noise_size = 1
        self.level, self.spread = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(0.1))

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        bright_B = torch.exp(torch.log(self.level) + self.spread * noise_BL[:, 0])
        return self.transform.forward(bright_B[:, None, None, None].expand(-1, *GRID.shape))


class Slope(ShowerCritic):
    """Judges by a quadratic form of cells and a linear one of observables: slopes are known."""

    def __init__(self) -> None:
        super().__init__(GRID)
        self.strength = nn.Parameter(torch.tensor(0.3))

    def forward(self, view: View, conditions_BF: Tensor) -> Tensor:
        cells, observables = view
        return self.strength * (
            cells.square().sum((1, 2)) + 2 * observables.sum(1) + conditions_BF[:, 1]
        )


def batch_of(brightness: float, size: int = 16) -> Batch:
    torch.manual_seed(9)
    level_B = brightness * torch.exp(0.3 * torch.randn(size))
    deposits = level_B[:, None, None, None].repeat(1, *GRID.shape)
    return Batch(deposits, Given.of(torch.linspace(5e4, 2e5, size)))


def test_losses_and_penalties_by_hand() -> None:
    model, critic, batch = Glow(), Slope(), batch_of(2.0)
    torch.manual_seed(4)
    critic_turn, generator_turn = RelativisticObjective(model, critic, penalty=0.7).losses(batch)
    torch.manual_seed(4)
    given = critic.conditions(batch.given.energy_B, torch.zeros(16, 2))
    views, judged = [], []
    for showers in (batch.deposits_BXYZ, *(fakes(model) for _ in range(2))):
        views.append(critic.view(showers, batch.given.energy_B))
        judged.append(critic(views[-1], given))
    real, first, second = judged
    paired = torch.log1p(torch.exp(first - real)).mean()
    # D = s (c.c + 2 sum o + ...) has the slopes 2 s c in the cells, 2 s in each observable.
    squares = [
        (4 * 0.3**2 * (cells.square().sum((1, 2)) + observables.shape[1])).mean()
        for cells, observables in views[:2]
    ]
    expected = {"paired": paired, "r1": squares[0], "r2": squares[1]}
    for name, value in expected.items():
        torch.testing.assert_close(critic_turn.terms[f"critic.{name}"], value.detach())
    torch.testing.assert_close(critic_turn.loss, paired + 0.35 * (squares[0] + squares[1]))
    torch.testing.assert_close(generator_turn.loss, torch.log1p(torch.exp(real - second)).mean())


def fakes(model: Glow) -> Tensor:
    made = model(Given.of(torch.ones(16)), torch.randn(16, 1))
    return model.transform.inverse(made)


def test_the_gradient_of_the_penalty_is_that_of_its_closed_form() -> None:
    """Second derivatives, by which the critic learns to be flat."""
    model, critic, batch = Glow(), Slope(), batch_of(2.0)
    gradients = []
    for penalty in (0.0, 2.0):
        torch.manual_seed(4)
        loss_step = next(RelativisticObjective(model, critic, penalty=penalty).losses(batch))
        gradients.append(torch.autograd.grad(loss_step.loss, critic.strength)[0])
    torch.manual_seed(4)
    with torch.no_grad():
        views = [critic.view(s, batch.given.energy_B) for s in (batch.deposits_BXYZ, fakes(model))]
    squares = [(cells.square().sum((1, 2)) + seen.shape[1]).mean() for cells, seen in views]
    # The derivative of 4 s^2 (...) is 8 s (...).
    torch.testing.assert_close(gradients[1] - gradients[0], 8 * 0.3 * (squares[0] + squares[1]))


def test_each_network_gets_gradients_of_its_own_loss_alone() -> None:
    model, critic, batch = Glow(), ShowerCritic(GRID), batch_of(2.0)
    objective = RelativisticObjective(model, critic, penalty=1.0)
    for loss_step in objective.losses(batch):
        loss_step.loss.backward()  # type: ignore[no-untyped-call]
        learns, other = (model, critic) if loss_step.network == "generator" else (critic, model)
        assert all(p.grad is not None for p in learns.parameters())
        assert all(p.grad is None for p in other.parameters())
        for network in (model, critic):
            network.zero_grad(set_to_none=True)
    assert all(p.requires_grad for p in critic.parameters())


@pytest.mark.training
def test_any_differentiable_model_learns_brightness_and_its_spread() -> None:
    torch.manual_seed(1)
    model, critic, batch = Glow(), ShowerCritic(GRID), batch_of(2.0, 256)
    critic.begin(batch)
    objective = RelativisticObjective(model, critic, penalty=0.5)
    optimizers = {name: objective.optimizer(net, 3e-3) for name, net in objective.networks.items()}
    for _ in range(300):
        some = batch.take(torch.randint(256, (32,)))
        for loss_step in objective.losses(some):
            optimizers[loss_step.network].zero_grad()
            loss_step.loss.backward()  # type: ignore[no-untyped-call]
            optimizers[loss_step.network].step()
    assert model.level.item() == pytest.approx(2.0, rel=0.15)
    assert abs(model.spread.item()) == pytest.approx(0.3, abs=0.12)


SETTINGS = ["model=mixer-gan", "batch_size=8", "check_showers=4", "max_steps=6"]


@pytest.fixture
def _known() -> Iterator[None]:
    with mixer_gan.known():
        yield


def weights_of(run: Path) -> dict[str, Tensor]:
    return load_tensors(max((run / "checkpoints").iterdir()))[0]


@pytest.mark.training
@pytest.mark.usefixtures("_known")
def test_a_run_goes_on_exactly(small_showers: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(load_config(settings=SETTINGS), [small_showers], whole)
    train(load_config(settings=[*SETTINGS, "max_steps=2"]), [small_showers], parts)
    train(load_config(settings=SETTINGS), [small_showers], parts, resume=True)
    expected, found = weights_of(whole), weights_of(parts)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.training
@pytest.mark.usefixtures("_known")
def test_an_adversary_takes_up_what_the_likelihood_left(small_showers: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    train(load_config(settings=[*SETTINGS, "model=mixer"]), [small_showers], before)
    settings = [*SETTINGS, "max_steps=1", "learning_rate=1e-9", "objective.likelihood=20"]
    train(load_config(settings=settings), [small_showers], after, init_from=[before])
    taken, given = weights_of(after), weights_of(before)
    assert any(name.startswith("critic.") for name in taken)
    for name in given:
        if name.startswith("generator."):
            torch.testing.assert_close(taken[name], given[name], rtol=0, atol=1e-6)


def test_nobody_else_knows_it() -> None:
    assert "mixer-gan" not in MODELS
    with mixer_gan.known():
        assert "mixer-gan" in MODELS
