"""Every form of a convolution gives what upsampling, padding and convolving one by one gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from caloforge.models.threedgan import convolution
from caloforge.models.threedgan.convolution import (
    Pads,
    Triple,
    convolve,
    depth_taps,
    depth_waves,
    plain,
    subpixel,
)

Form = Callable[..., Tensor]


def images(channels: int, shape: Triple, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, *shape, generator=generator)
    return x.to(memory_format=torch.channels_last_3d).requires_grad_()


def weights(filters: int, channels: int, kernel: Triple) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(filters, channels, *kernel, generator=generator)
    return weight.requires_grad_(), torch.randn(filters, generator=generator).requires_grad_()


def assert_equal_to_plain(
    form: Form, x: Tensor, weight: Tensor, bias: Tensor, pads: Pads, *upsample: Triple
) -> None:
    """Compare values and every gradient with the plain form in double precision."""
    exact = plain(x.double(), weight.double(), bias.double(), pads, *upsample)
    ours = form(x, weight, bias, pads, *upsample)
    assert ours.shape == exact.shape
    direction = torch.randn(exact.shape, generator=torch.Generator().manual_seed(2))
    expected = (exact, *torch.autograd.grad(exact, (x, weight, bias), direction.double()))
    found = (ours, *torch.autograd.grad(ours, (x, weight, bias), direction))
    for a, b in zip(expected, found, strict=True):
        # Summands are of order one: where they cancel, a small sum is not known better than that.
        scale = 1 + float(a.detach().abs().max())
        torch.testing.assert_close(b.double(), a.double(), rtol=0, atol=1e-5 * scale)


pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
sizes = st.tuples(st.integers(5, 8), st.integers(5, 8), st.integers(5, 14))
kernels = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))


@settings(max_examples=25, deadline=None)
@given(sizes, kernels, st.tuples(pads, pads, pads), st.integers(1, 3), st.integers(1, 3))
def test_waves_along_depth(size: Triple, kernel: Triple, pad: Pads, channels: int, filters: int) -> None:
    assert_equal_to_plain(depth_waves, images(channels, size), *weights(filters, channels, kernel), pad)


@settings(max_examples=15, deadline=None)
@given(sizes, kernels, st.tuples(pads, pads, pads), st.integers(1, 3))
def test_taps_along_depth(size: Triple, kernel: Triple, pad: Pads, filters: int) -> None:
    assert_equal_to_plain(depth_taps, images(1, size), *weights(filters, 1, kernel), pad)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(pads, pads, pads),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
)
def test_subpixel(size: Triple, kernel: Triple, pad: Pads, upsample: Triple) -> None:
    assume(all(n * u + sum(p) >= k for n, u, p, k in zip(size, upsample, pad, kernel, strict=True)))
    assert_equal_to_plain(subpixel, images(2, size), *weights(3, 2, kernel), pad, upsample)


@pytest.mark.parametrize(
    ("channels", "shape", "kernel", "pad", "form"),
    [
        (1, (25, 25, 25), (5, 5, 5), (2, 2), "depth_taps"),
        (8, (9, 9, 25), (5, 5, 5), (2, 2), "depth_waves"),
        (6, (9, 9, 28), (3, 3, 3), (0, 0), "plain"),
    ],
)
def test_the_form_follows_from_the_shape(
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    shape: Triple,
    kernel: Triple,
    pad: tuple[int, int],
    form: str,
) -> None:
    taken: list[str] = []
    for name in ("depth_taps", "depth_waves", "plain"):
        original = getattr(convolution, name)

        def spy(*arguments: object, name: str = name, original: Form = original) -> Tensor:
            taken.append(name)
            return original(*arguments)

        monkeypatch.setattr(convolution, name, spy)
    convolve(images(channels, shape), *weights(2, channels, kernel), (pad,) * 3)
    assert taken[0] == form


def test_half_precision_follows_autocast_and_rounds_the_weights_last() -> None:
    x, (weight, bias) = images(8, (9, 9, 25)), weights(8, 8, (5, 5, 5))
    exact = plain(x, weight, bias, ((2, 2),) * 3)
    with torch.autocast("cpu", torch.bfloat16):
        half = convolve(x, weight, bias, ((2, 2),) * 3)
    assert half.dtype == torch.bfloat16
    assert (half - exact).abs().max() < 0.02 * exact.abs().max()


def test_constants_made_in_inference_serve_training() -> None:
    convolution._transforms.cache_clear()
    convolution._merge.cache_clear()
    x, (weight, bias) = images(8, (5, 5, 25)), weights(8, 8, (5, 5, 5))
    with torch.inference_mode():
        convolve(x, weight, bias, ((2, 2),) * 3)
        convolve(x, weight, bias, ((2, 2),) * 3, (2, 2, 2))
    for upsample in ((1, 1, 1), (2, 2, 2)):
        (gradient,) = torch.autograd.grad(
            convolve(x, weight, bias, ((2, 2),) * 3, upsample).square().sum(), weight
        )
        assert torch.isfinite(gradient).all()
