"""A distribution that is closed in both directions, and integrates to one."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caloforge.models.copula.sinh_arcsinh import from_normal, log_density, to_normal

shapes = st.tuples(st.floats(-1, 1), st.floats(-0.5, 0.5))


def tensors(shape: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    skew, log_tail = torch.tensor(shape, dtype=torch.float64)
    return skew, log_tail


@given(shapes)
def test_scores_come_back(shape: tuple[float, float]) -> None:
    latent = torch.linspace(-3, 3, 61, dtype=torch.float64)
    torch.testing.assert_close(to_normal(from_normal(latent, *tensors(shape)), *tensors(shape)), latent)


@given(shapes)
def test_the_density_is_the_slope_of_the_normal_integral(shape: tuple[float, float]) -> None:
    x = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    torch.special.ndtr(to_normal(x, *tensors(shape))).sum().backward()
    assert x.grad is not None
    expected = torch.exp(log_density(x, *tensors(shape))) / math.sqrt(2 * math.pi)
    torch.testing.assert_close(x.grad, expected.detach(), rtol=1e-6, atol=1e-12)


def test_without_skew_and_tail_it_is_the_normal_law() -> None:
    x = torch.linspace(-3, 3, 13)
    zero = torch.zeros(())
    torch.testing.assert_close(to_normal(x, zero, zero), x)
    torch.testing.assert_close(log_density(x, zero, zero), -0.5 * x * x)


@pytest.mark.parametrize("latent", [-40.0, 40.0])
def test_no_latent_makes_an_infinite_number(latent: float) -> None:
    found = from_normal(torch.tensor(latent), torch.tensor(3.0), torch.tensor(-1.0))
    assert torch.isfinite(found)
