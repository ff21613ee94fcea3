"""What the shared layers promise: Keras' initial weights, dropout's statistics, order of cells."""

from __future__ import annotations

import math

import pytest
import torch

from caloforge.models.threedgan.layers import (
    Convolution,
    Crop,
    Dropout,
    FromCells,
    LeakyDropout,
    Normalisation,
    dense,
    same,
)


def test_same_pads_even_kernels_as_keras_does() -> None:
    assert same((5, 6, 8)) == ((2, 2), (2, 3), (3, 4))


@pytest.mark.parametrize(
    ("init", "deviation", "largest"),
    [
        # fan in 8 * 60 = 480, fan out 16 * 60 = 960
        ("he_uniform", math.sqrt(2 / 480), math.sqrt(6 / 480)),
        ("glorot_uniform", math.sqrt(2 / 1440), math.sqrt(6 / 1440)),
        ("glorot_normal", math.sqrt(2 / 1440), 2 * math.sqrt(2 / 1440) / 0.8796),
    ],
)
def test_initial_weights(init: str, deviation: float, largest: float) -> None:
    torch.manual_seed(1)
    layer = Convolution(8, 16, (3, 4, 5), init=init)  # type: ignore[arg-type]
    assert layer.weight.std().item() == pytest.approx(deviation, rel=0.03)
    assert 0.97 * largest < layer.weight.abs().max() <= largest
    assert layer.bias is not None
    assert not layer.bias.any()


def test_a_dense_layer_starts_as_in_keras() -> None:
    layer = dense(200, 3136)
    assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 3336), rel=0.01)
    assert not layer.bias.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_four_fifths_and_the_mean(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = (
        torch.ones(3, 7, 9, 11, 13, dtype=dtype)
        .to(memory_format=torch.channels_last_3d)
        .requires_grad_()
    )
    y = Dropout()(x)
    values, counts = y.detach().float().unique(return_counts=True)
    assert values.tolist() == [0.0, 1.25]
    n = x.numel()
    assert counts[1].item() / n == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / n))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach())
    assert not torch.equal(Dropout()(x), y)  # fresh numbers each time


def test_dropout_decides_on_each_feature_alone() -> None:
    torch.manual_seed(2)
    kept = (Dropout()(torch.ones(64, 8, 4, 4, 4)) > 0).float().movedim(1, -1).reshape(-1, 8)
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 5 / math.sqrt(len(kept))


def test_leaky_dropout_is_a_leaky_rectifier_then_dropout() -> None:
    x = torch.randn(2, 5, 6, 7, 8, requires_grad=True)
    leaky = torch.nn.functional.leaky_relu(x, 0.3)
    layer = LeakyDropout()
    torch.manual_seed(3)
    y = layer(x)
    kept = y.detach() != 0
    torch.testing.assert_close(y, torch.where(kept, 1.25 * leaky, 0.0))
    expected, found = (torch.autograd.grad(out.sum(), x)[0] for out in (leaky[kept], y))
    torch.testing.assert_close(found, 1.25 * expected)
    torch.testing.assert_close(layer.eval()(x), leaky)


def test_the_same_seed_drops_the_same_features() -> None:
    x = torch.ones(2, 3, 4, 5, 6)
    outs = []
    for _ in range(2):
        torch.manual_seed(4)
        outs.append(Dropout()(x))
    assert torch.equal(*outs)


def test_cells_are_in_keras_order() -> None:
    cells = torch.arange(2 * 3 * 4 * 5.0).view(1, -1)
    image = FromCells((2, 3, 4), 5)(cells)
    assert image.shape == (1, 5, 2, 3, 4)
    assert image[0, 4, 1, 2, 3] == 119
    assert image[0, 1, 0, 0, 0] == 1  # channels run fastest
    assert image.is_contiguous(memory_format=torch.channels_last_3d)


def test_a_crop_keeps_the_centre() -> None:
    image = torch.arange(5.0).view(1, 1, 5, 1, 1)
    assert Crop((3, 1, 1))(image).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize("tracked", [True, False])
def test_normalisation_is_torchs_own_with_its_gradients(tracked: bool) -> None:
    ours, torchs = Normalisation(5), torch.nn.BatchNorm3d(5, eps=1e-3, momentum=0.01)
    with torch.no_grad():
        ours.weight.copy_(torch.tensor([0.5, 1, 1.5, 2, -1]))
        ours.bias.normal_()
    torchs.load_state_dict(ours.state_dict())
    ours.track_running_stats = torchs.track_running_stats = tracked
    x = (3 + torch.randn(2, 5, 4, 6, 7)).to(memory_format=torch.channels_last_3d).requires_grad_()
    g = torch.randn(2, 5, 4, 6, 7)
    results = []
    for layer in (ours, torchs):
        y = layer(x)
        results.append((y, *torch.autograd.grad(y, (x, layer.weight, layer.bias), g), layer.running_var))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))


def test_normalisation_has_the_right_gradient() -> None:
    layer = Normalisation(3).double()
    x = torch.randn(2, 3, 2, 3, 2, dtype=torch.float64).to(memory_format=torch.channels_last_3d)
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))


def test_normalisation_in_half_precision_is_close() -> None:
    layer = Normalisation(8)
    x = torch.randn(4, 8, 5, 6, 7).to(memory_format=torch.channels_last_3d).requires_grad_()
    g = torch.randn(4, 8, 5, 6, 7)
    (exact,) = torch.autograd.grad(layer(x), x, g)
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    (found,) = torch.autograd.grad(half, x, g.bfloat16())
    torch.testing.assert_close(found, exact, rtol=0.03, atol=0.03)
