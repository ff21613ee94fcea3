"""The critic: it judges showers one by one, knows their observables, and lets gradients pass."""

from __future__ import annotations

import torch
from shower_samples import random_showers

from caloforge.detector import Grid
from caloforge.showers.batch import Batch, Given
from studies.mixer_gan.critic import ShowerCritic

GRID = Grid("block", (7, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)


def some_critic() -> tuple[ShowerCritic, list[torch.Tensor]]:
    torch.manual_seed(2)
    showers = random_showers(200, GRID)
    deposits, energy = torch.from_numpy(showers.deposits), torch.from_numpy(showers.incident_energy)
    critic = ShowerCritic(GRID)
    critic.begin(Batch(deposits, Given.of(energy)))
    return critic, [deposits, energy]


def test_it_judges_each_shower_by_itself() -> None:
    critic, real = some_critic()
    given = critic.conditions(real[1], torch.zeros(200, 2))
    whole = critic(critic.view(*real), given)
    few = critic(critic.view(*(values[:3] for values in real)), given[:3])
    torch.testing.assert_close(whole[:3], few, rtol=1e-4, atol=1e-5)


def test_observables_of_real_showers_have_mean_0_and_spread_1() -> None:
    critic, real = some_critic()
    _, seen = critic.view(*real)
    torch.testing.assert_close(seen.mean(0), torch.zeros(seen.shape[1]), rtol=0, atol=0.01)
    torch.testing.assert_close(seen.std(0), torch.ones(seen.shape[1]), rtol=0, atol=0.01)


def test_what_moves_a_shower_moves_its_barycentres_alone() -> None:
    critic, (deposits, energy) = some_critic()
    inside = torch.zeros_like(deposits)
    inside[:, 1:5, 2:6] = deposits[:, 1:5, 2:6] + 0.1
    moved = inside.roll(1, 1)
    change = critic._observe(moved, energy) - critic._observe(inside, energy)
    nz, hits = GRID.n_layers, 3
    x = slice((1 + hits) * nz, (2 + hits) * nz)
    torch.testing.assert_close(change[:, x], torch.ones(200, nz), rtol=0.2, atol=0)
    rest = torch.cat([change[:, : x.start], change[:, x.stop :]], 1)
    torch.testing.assert_close(rest, torch.zeros_like(rest), rtol=0, atol=0.35)


def test_gradients_reach_deposits_and_every_weight() -> None:
    critic, (deposits, energy) = some_critic()
    deposits.requires_grad_()
    given = critic.conditions(energy, torch.zeros(200, 2))
    critic(critic.view(deposits, energy), given).square().sum().backward()
    assert deposits.grad is not None
    assert bool(deposits.grad.isfinite().all())
    assert float((deposits.grad != 0).float().mean()) > 0.99
    assert [n for n, w in critic.named_parameters() if w.grad is None or not bool(w.grad.any())] == []
