"""The fixed-angle networks: published layers and counts, any grid, training that reaches every weight."""

from __future__ import annotations

import pytest
import torch
from network_probes import GRIDS, convolution_shapes
from torch import nn

from caloforge.foundations.errors import UsageError
from caloforge.models.registry import count_weights
from caloforge.models.threedgan.convolution import Triple
from caloforge.models.threedgan.fixed_angle import LATENT, Discriminator3DGAN, Generator3DGAN
from studies.speed.as_written import as_written


@pytest.mark.parametrize(
    ("filters", "generator", "discriminator"), [(6, 872_948, 73_450), (16, 1_042_528, 174_866)]
)
def test_parameters_are_as_published(filters: int, generator: int, discriminator: int) -> None:
    assert count_weights(Generator3DGAN(filters=filters)) == generator
    assert count_weights(Discriminator3DGAN(filters=max(8, filters))) == discriminator


def test_layers_are_as_published() -> None:
    generator = Generator3DGAN().eval()
    assert convolution_shapes(generator, torch.randn(1, LATENT)) == [
        (64, 7, 7, 8), (6, 13, 14, 9), (6, 26, 26, 26), (1, 25, 25, 25)
    ]  # fmt: skip
    discriminator = Discriminator3DGAN().eval()
    assert convolution_shapes(discriminator, torch.rand(1, 25, 25, 25)) == [
        (32, 25, 25, 25), (8, 25, 25, 25), (8, 25, 25, 25), (8, 23, 23, 23)
    ]  # fmt: skip
    assert discriminator.real.in_features == 10_648
    norms = [m for n in (generator, discriminator) for m in n.modules() if isinstance(m, nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize("shape", GRIDS)
def test_any_grid(shape: Triple) -> None:
    generator, discriminator = Generator3DGAN(shape), Discriminator3DGAN(shape)
    image = generator(torch.randn(2, LATENT))
    assert image.shape == (2, *shape)
    assert image.min() >= 0
    logit, energy, total = discriminator(image)
    assert logit.shape == energy.shape == total.shape == (2,)
    torch.testing.assert_close(total, image.sum((1, 2, 3)))
    gradients = torch.autograd.grad(
        logit.sum() + energy.sum(), [*generator.parameters(), *discriminator.parameters()]
    )
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert all(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 4, 5)])
def test_the_smallest_grids(shape: Triple) -> None:
    assert all(
        out.shape == (2,)
        for out in Discriminator3DGAN(shape)(Generator3DGAN(shape)(torch.randn(2, LATENT)))
    )


def test_a_grid_that_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 2x2x2 cells, got 1x25x25"):
        Discriminator3DGAN((1, 25, 25))


@pytest.mark.parametrize("network", [Generator3DGAN(), Discriminator3DGAN()])
def test_the_fast_forms_equal_the_layers_as_written(network: nn.Module) -> None:
    network.eval()
    x = torch.randn(2, LATENT) if isinstance(network, Generator3DGAN) else torch.rand(2, 25, 25, 25)
    fast = network(x)
    written = as_written(network).eval()(x)
    for a, b in zip(fast, written, strict=True):
        # A logit near zero is a difference of terms of order one, so their rounding is left to it.
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6 + 1e-5 * float(b.detach().abs().max()))


def test_half_precision_keeps_energy_and_sum_in_full() -> None:
    discriminator, image = Discriminator3DGAN().eval(), torch.rand(2, 25, 25, 25)
    exact = discriminator(image)
    with torch.autocast("cpu", torch.bfloat16):
        half = discriminator(image)
    assert {out.dtype for out in half} == {torch.float32}
    torch.testing.assert_close(half[2], exact[2])
    torch.testing.assert_close(half[1], exact[1], atol=0.02, rtol=0.02)
