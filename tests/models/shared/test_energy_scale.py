"""A monotone scale that comes back, and whose slope is its slope."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from caloforge.models.shared.energy_scale import EnergyScale


def some_scale(seed: int, scales: int = 1, spread: float = 1.0) -> EnergyScale:
    torch.manual_seed(seed)
    scale = EnergyScale(scales).double()
    with torch.no_grad():
        scale.log_slope.normal_(0, spread)
    return scale


@given(st.integers(0, 1000))
def test_the_map_rises_and_comes_back(seed: int) -> None:
    scale, x = some_scale(seed), torch.linspace(-9, 10, 500, dtype=torch.float64)
    mapped, _ = scale(x)
    assert (mapped.diff() > 0).all()
    torch.testing.assert_close(scale.inverse(mapped[None])[0], x)


def test_each_scale_is_a_map_of_its_own() -> None:
    scale, x = some_scale(3, scales=3, spread=0.3), torch.linspace(-8, 9, 300, dtype=torch.float64)
    number = torch.arange(300) % 3
    mapped, log_slope = scale(x, number)
    for k in range(3):
        alone = EnergyScale().double()
        alone.load_state_dict({"log_slope": scale.log_slope.view(3, -1)[k]})
        expected = alone(x[number == k])
        torch.testing.assert_close((mapped[number == k], log_slope[number == k]), expected)
    torch.testing.assert_close(scale.inverse_scale()(mapped, number), x, rtol=0, atol=5e-3)


def test_the_slope_is_the_derivative() -> None:
    x = torch.linspace(-8, 9, 333, dtype=torch.float64, requires_grad=True)
    mapped, log_slope = some_scale(1)(x)
    mapped.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.exp(log_slope.detach()))


def test_at_first_it_changes_nothing() -> None:
    x = torch.linspace(-9, 10, 50)
    torch.testing.assert_close(EnergyScale()(x)[0], x)
