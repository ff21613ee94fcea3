"""The variable-angle networks, and the angle that is measured in an image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from network_probes import GRIDS, convolution_shapes
from torch import Tensor, nn

from caloforge.models.registry import count_weights
from caloforge.models.threedgan.convolution import Triple
from caloforge.models.threedgan.variable_angle import (
    LATENT,
    POWER,
    Discriminator3DGANAngle,
    Generator3DGANAngle,
    measured_angle,
)
from caloforge.observables import image


def tilted(slope: float, shape: Triple = (9, 21, 9)) -> Tensor:
    """Return a thin straight shower (1, x, y, z) whose cells rise in y by ``slope`` a layer."""
    nx, ny, nz = shape
    image = torch.zeros(1, nx, ny, nz, dtype=torch.float64)
    for z in range(nz):
        y = ny // 2 + slope * (z - nz // 2)
        low = math.floor(y)
        image[0, nx // 2, low, z] += 1 - (y - low)
        image[0, nx // 2, low + 1, z] += y - low
    return image


def test_parameters_and_layers_are_as_published() -> None:
    generator, discriminator = Generator3DGANAngle().eval(), Discriminator3DGANAngle().eval()
    assert count_weights(generator) == 1_365_047
    assert count_weights(discriminator) == 87_402
    assert convolution_shapes(generator, torch.randn(1, LATENT)) == [
        (8, 49, 49, 41), (6, 50, 50, 38), (6, 51, 51, 35), (6, 52, 52, 32), (6, 52, 52, 28),
        (6, 52, 52, 26), (1, 51, 51, 25),
    ]  # fmt: skip
    assert convolution_shapes(discriminator, torch.rand(1, 51, 51, 25)) == [
        (16, 51, 51, 25), (8, 47, 46, 22), (8, 43, 41, 19), (8, 39, 36, 14)
    ]  # fmt: skip
    assert discriminator.real.in_features == 19_152
    assert {m.eps for m in generator.modules() if isinstance(m, nn.BatchNorm3d)} == {1e-6}
    assert {m.eps for m in discriminator.modules() if isinstance(m, nn.BatchNorm3d)} == {1e-3}


def test_filters_in_multiples_of_16() -> None:
    wide = convolution_shapes(Generator3DGANAngle((11, 11, 22), filters=16), torch.randn(2, LATENT))
    assert {channels for channels, *_ in wide} == {16, 1}
    wide = convolution_shapes(
        Discriminator3DGANAngle((11, 11, 22), filters=16), torch.rand(2, 11, 11, 22)
    )
    assert {channels for channels, *_ in wide} == {16}


@pytest.mark.parametrize("shape", GRIDS)
def test_any_grid(shape: Triple) -> None:
    generator, discriminator = Generator3DGANAngle(shape), Discriminator3DGANAngle(shape)
    image = generator(torch.randn(2, LATENT))
    assert image.shape == (2, *shape)
    assert image.min() >= 0
    outs = discriminator(image)
    assert [out.shape for out in outs] == [(2,)] * 4
    torch.testing.assert_close(outs[3], (image ** (1 / POWER)).sum((1, 2, 3)))
    loss = torch.stack([out.sum() for out in outs]).sum()
    gradients = torch.autograd.grad(loss, [*generator.parameters(), *discriminator.parameters()])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("slope", [-1.0, -0.4, 0.0, 0.3, 1.0])
def test_the_angle_of_a_straight_shower(slope: float) -> None:
    assert measured_angle(tilted(slope)).item() == pytest.approx(
        math.pi / 2 - math.atan(slope), abs=1e-9
    )


def test_it_is_the_angle_of_validation() -> None:
    generator = torch.Generator().manual_seed(1)
    cells = torch.rand(20, 7, 8, 9, generator=generator, dtype=torch.float64) ** 8
    cells[:, :, :, 2] = 0  # a layer without energy does not count
    cells[3, :, :, 5:] = 0
    sum_NZ = cells.sum((1, 2))
    x_NZ, y_NZ = (
        (torch.einsum(equation, cells, torch.arange(n).double()) / sum_NZ).nan_to_num().numpy()
        for equation, n in (("nxyz,x->nz", 7), ("nxyz,y->nz", 8))
    )
    expected = image.measured_angle(x_NZ, y_NZ, sum_NZ.numpy())
    np.testing.assert_allclose(measured_angle(cells).numpy(), expected, rtol=1e-10)


def test_its_gradient_is_right() -> None:
    generator = torch.Generator().manual_seed(2)
    cells = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(measured_angle, (cells,))


@pytest.mark.parametrize("keep", [slice(0, 0), slice(3, 4), slice(0, 1)])
def test_gradients_are_finite_where_layers_or_all_are_empty(keep: slice) -> None:
    image = torch.zeros(2, 14, 17, 13)
    image[:, 7, 8, keep] = 2.0
    image[1, 4, 5, keep] = 1.0
    image.requires_grad_()
    _, _, angle, total = Discriminator3DGANAngle((14, 17, 13))(image)
    assert torch.isfinite(angle).all()
    (gradient,) = torch.autograd.grad(angle.sum() + total.sum(), image)
    assert torch.isfinite(gradient).all()
    if not image.any():
        torch.testing.assert_close(angle, torch.full((2,), math.pi / 2))


def test_half_precision_measures_in_full() -> None:
    network, image = Discriminator3DGANAngle((14, 17, 13)).eval(), torch.rand(2, 14, 17, 13)
    exact = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(image)
    for a, b in zip(half[2:], exact[2:], strict=True):
        torch.testing.assert_close(a, b)
