"""The layers of the published 3DGAN networks, with the conventions of the Keras code they come from.

Arrays are (B, C, x, y, z) in ``channels_last_3d`` memory, in which a view as (B, x, y, z, C) is
Keras' order of cells, so that weights need no permutation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from caloforge.foundations.errors import UsageError
from caloforge.models.threedgan.convolution import Pads, Triple, convolve

__all__ = [
    "LEAK",
    "Convolution",
    "Crop",
    "Discriminator",
    "FromCells",
    "Normalisation",
    "Triple",
    "dense",
    "same",
]

Init = Literal["he_uniform", "glorot_uniform", "glorot_normal"]

LEAK = 0.3
"""Slope of Keras' LeakyReLU."""


def same(kernel: Triple) -> tuple[tuple[int, int], ...]:
    """Pad so that the shape is kept; an even kernel has one more cell after than before."""
    return tuple(((k - 1) // 2, k // 2) for k in kernel)


def _initialise(weight: Tensor, init: Init) -> None:
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
    if init == "glorot_normal":
        # Keras cuts the normal at two deviations and widens it to keep the variance.
        std = math.sqrt(2 / (fan_in + fan_out)) / 0.87962566103423978
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
    else:
        bound = math.sqrt(6 / (fan_in if init == "he_uniform" else fan_in + fan_out))
        nn.init.uniform_(weight, -bound, bound)


class Convolution(nn.Module):
    """Nearest-neighbour upsampling, zero padding and a convolution of stride 1, in this order.

    ``pad`` holds, for x, y and z, the cells added before and after; ``form`` is how it is computed.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: Triple,
        *,
        pad: Pads = ((0, 0),) * 3,
        upsample: Triple = (1, 1, 1),
        bias: bool = True,
        init: Init = "glorot_uniform",
    ) -> None:
        super().__init__()
        self.pad, self.upsample, self.form = tuple(pad), upsample, convolve
        self.weight = nn.Parameter(torch.empty(filters, channels, *kernel))
        self.bias = nn.Parameter(torch.zeros(filters)) if bias else None
        _initialise(self.weight, init)

    def forward(self, x_BCXYZ: Tensor) -> Tensor:
        """Map (B, channels, x, y, z) to (B, filters, x', y', z')."""
        return self.form(x_BCXYZ, self.weight, self.bias, self.pad, self.upsample)


def dense(inputs: int, outputs: int) -> nn.Linear:
    """Return a fully connected layer with Keras' initial weights: glorot_uniform, zero bias."""
    layer = nn.Linear(inputs, outputs)
    _initialise(layer.weight, "glorot_uniform")
    nn.init.zeros_(layer.bias)
    return layer


class Normalisation(nn.BatchNorm3d):
    """Batch normalisation with Keras' momentum (0.99 there is 0.01 here)."""

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__(channels, eps=eps, momentum=0.01)

    def forward(self, x_BCXYZ: Tensor) -> Tensor:
        """Normalise with the batch in training, with the running statistics in evaluation mode."""
        if not self.training or not x_BCXYZ.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(x_BCXYZ)
        statistics = (self.running_mean, self.running_var) if self.track_running_stats else (None, None)
        y_BCXYZ: Tensor = _BatchNormalisation.apply(
            x_BCXYZ, self.weight, self.bias, *statistics, self.momentum, self.eps
        )  # type: ignore[no-untyped-call]
        return y_BCXYZ


class _BatchNormalisation(torch.autograd.Function):
    """Torch's normalisation with a backward pass of whole-array operations.

    The threads of torch's own add into neighbouring channels of one cache line: with 8 channels, two
    threads take five times longer than one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Any,
        var: Any,
        momentum: float,
        eps: float,
    ) -> Tensor:
        y, mean_C, scale_C = torch.native_batch_norm(x, weight, bias, mean, var, True, momentum, eps)
        ctx.save_for_backward(x, weight, mean_C, scale_C)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x_BCXYZ, weight_C, mean_C, scale_C = ctx.saved_tensors
        x_BXYZC, g_BXYZC = x_BCXYZ.movedim(1, -1), gradients[0].movedim(1, -1).contiguous()
        *shape, layers, channels = x_BXYZC.shape
        across = (0, 1, 2, 3)
        sum_C = g_BXYZC.sum(across, dtype=mean_C.dtype)
        dot_C = (g_BXYZC * x_BXYZC).sum(across, dtype=mean_C.dtype) - mean_C * sum_C
        # weight * scale * (g - mean of g - normalised x * mean of g times it) is linear in g and x.
        of_g_C = weight_C * scale_C
        of_x_C = -of_g_C * scale_C.square() * dot_C * channels / x_BXYZC.numel()
        constant_C = -of_g_C * sum_C * channels / x_BXYZC.numel() - of_x_C * mean_C
        # A row of cells at a time: rows of a few channels would not fill the vector units.
        of_g_R, of_x_R, constant_R = (
            c.to(x_BXYZC.dtype).repeat(layers) for c in (of_g_C, of_x_C, constant_C)
        )
        dx_BXYR = torch.addcmul(constant_R, x_BXYZC.flatten(-2), of_x_R)
        dx_BXYR.addcmul_(g_BXYZC.flatten(-2), of_g_R)
        dx_BXYZC = dx_BXYR.view(*shape, layers, channels)
        return dx_BXYZC.movedim(-1, 1), dot_C * scale_C, sum_C, None, None, None, None


class Dropout(nn.Module):
    """Set a fifth of the features to zero in training, and scale the rest by 5/4.

    One 64-bit draw decides on four features: drawing takes most of the time of torch's own dropout
    on CPUs. A feature is kept with probability 52429/65536 = 0.800003.
    """

    KEPT = round(0.8 * 2**16) - 2**15
    FIVE_QUARTERS_BF16 = 0x3FA0

    def forward(self, x_BCXYZ: Tensor) -> Tensor:
        """Draw from torch's global generator; do nothing in evaluation mode."""
        return x_BCXYZ * self._factor(x_BCXYZ) if self.training else x_BCXYZ

    def _factor(self, like_BCXYZ: Tensor) -> Tensor:
        """Draw 5/4 or 0 for each feature."""
        draws = torch.empty(-(-like_BCXYZ.numel() // 4), dtype=torch.int64, device=like_BCXYZ.device)
        bits = draws.random_(-(2**63), None).view(torch.int16)[: like_BCXYZ.numel()]
        # In place on 16 bits: 1 where kept, then the bits of the number 1.25.
        factor = bits.lt_(self.KEPT).mul_(self.FIVE_QUARTERS_BF16).view(torch.bfloat16)
        return factor.to(like_BCXYZ.dtype).view(like_BCXYZ.movedim(1, -1).shape).movedim(-1, 1)


class LeakyDropout(Dropout):
    """A leaky rectifier and dropout as one product, which saves a pass over memory both ways."""

    def forward(self, x_BCXYZ: Tensor) -> Tensor:
        """Multiply with the rectifier's slope (1 or 0.3) times dropout's factor."""
        if not self.training:
            return nn.functional.leaky_relu(x_BCXYZ, LEAK)
        slope_BCXYZ: Tensor = torch.ops.aten.leaky_relu_backward(
            self._factor(x_BCXYZ), x_BCXYZ.detach(), LEAK, False
        )
        return x_BCXYZ * slope_BCXYZ


class FromCells(nn.Module):
    """Turn features (B, x*y*z*C), cells in Keras' order, into (B, C, x, y, z)."""

    def __init__(self, shape: Triple, channels: int) -> None:
        super().__init__()
        self.shape = (*shape, channels)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return a view in channels_last_3d memory."""
        return x_BF.view(-1, *self.shape).movedim(-1, 1)


class Crop(nn.Module):
    """Keep the central cells of an image that is larger than the wanted ``shape``."""

    def __init__(self, shape: Triple) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x_BCXYZ: Tensor) -> Tensor:
        """Map (B, 1, x, y, z) to (B, *shape)."""
        x_BXYZ = x_BCXYZ.squeeze(1)
        for axis, size in enumerate(self.shape, start=1):
            x_BXYZ = x_BXYZ.narrow(axis, (x_BXYZ.shape[axis] - size) // 2, size)
        return x_BXYZ


class Discriminator(nn.Module):
    """What both discriminators share: four convolutions, average pooling, two dense heads.

    ``pads`` holds for each valid convolution after the first the cells added on both sides of x, y
    and z. Along an axis too short for that, the convolutions keep the shape instead, so that any
    grid of at least two cells an axis fits; a smaller one raises UsageError.
    """

    def __init__(
        self, shape: Triple, kernel: Triple, filters: Sequence[int], pads: Sequence[Triple]
    ) -> None:
        super().__init__()
        if min(shape) < 2:
            cells = "x".join(map(str, shape))
            raise UsageError(
                f"detector: the 3DGAN discriminator needs at least 2x2x2 cells, got {cells}"
            )
        keep = same(kernel)
        left = [
            n + 2 * sum(pad) - len(pads) * (k - 1)
            for n, k, *pad in zip(shape, kernel, *pads, strict=True)
        ]
        paddings = [
            [(p, p) if n >= 2 else both for n, p, both in zip(left, pad, keep, strict=True)]
            for pad in pads
        ]
        layers: list[nn.Module] = [
            Convolution(1, filters[0], kernel, pad=keep),
            LeakyDropout(),
        ]
        for channels, outputs, pad in zip(filters, filters[1:], paddings, strict=False):
            layers += [
                Convolution(channels, outputs, kernel, pad=pad),
                nn.LeakyReLU(LEAK),
                Normalisation(outputs),
                Dropout(),
            ]
        self.layers = nn.Sequential(*layers, nn.AvgPool3d(2))
        pooled = math.prod((m if m >= 2 else n) // 2 for m, n in zip(left, shape, strict=True))
        self.real = dense(pooled * filters[-1], 1)
        self.energy = dense(pooled * filters[-1], 1)

    def judge(self, image_BXYZ: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B,) each: logit of being real, primary energy / 100 GeV."""
        x_BCXYZ = image_BXYZ.unsqueeze(1).contiguous(memory_format=torch.channels_last_3d)
        features_BF = self.layers(x_BCXYZ).movedim(1, -1).flatten(1).float()
        with torch.autocast(x_BCXYZ.device.type, enabled=False):  # an energy needs all its digits
            return self.real(features_BF).squeeze(1), self.energy(features_BF).squeeze(1)
