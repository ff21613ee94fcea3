"""A three-dimensional convolution in the cheapest of several equal forms.

Arrays are (B, C, x, y, z), best in ``channels_last_3d`` memory; weights (out, in, kx, ky, kz). Every
form gives the numbers of :func:`plain` within rounding (a test holds that), with fewer operations:

* :func:`depth_taps`: the taps along z become channels, because one input channel fills no vector unit;
* :func:`depth_waves`: a discrete Fourier transform along z turns the convolution in depth into one
  product a frequency, so that long kernels cost a fraction;
* :func:`subpixel`: upsampling makes neighbours equal, so their weights are added beforehand and the
  convolution runs on the small image, with one set of filters for each position inside a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Pads", "Triple", "convolve", "depth_taps", "depth_waves", "plain", "subpixel"]

Triple = tuple[int, int, int]

Pads = Sequence[tuple[int, int]]
"""Cells of zeros before and after, for each axis."""

WORTH_A_TRANSFORM = 0.6
"""A Fourier transform is taken where it leaves less than this fraction of the multiplications."""

WIDE_CHANNELS = 32
"""With more channels, zeros cost too much even in half precision."""


def convolve(
    x_BCXYZ: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads, upsample: Triple = (1, 1, 1)
) -> Tensor:
    """Upsample to the nearest cell, pad with zeros and convolve with stride 1, in the cheapest form.

    Autocast is heeded for the image; what is derived from the weights keeps their precision first.
    """
    device = x_BCXYZ.device.type
    if torch.is_autocast_enabled(device):
        x_BCXYZ = x_BCXYZ.to(torch.get_autocast_dtype(device))
        with torch.autocast(device, enabled=False):
            return convolve(x_BCXYZ, weight, bias, pads, upsample)
    if upsample != (1, 1, 1):
        return subpixel(x_BCXYZ, weight, bias, pads, upsample)
    if weight.shape[1] == 1:
        return depth_taps(x_BCXYZ, weight, bias, pads)
    taps = weight.shape[-1]
    layers = x_BCXYZ.shape[-1] + sum(pads[2]) - taps + 1
    if 4 * _waves(x_BCXYZ.shape[-1], pads[2])[1] < WORTH_A_TRANSFORM * layers * taps:
        return depth_waves(x_BCXYZ, weight, bias, pads)
    return plain(x_BCXYZ, weight, bias, pads)


def plain(
    x_BCXYZ: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads, upsample: Triple = (1, 1, 1)
) -> Tensor:
    """Do it as written: upsample, pad, convolve."""
    if upsample != (1, 1, 1):
        x_BCXYZ = F.interpolate(x_BCXYZ, scale_factor=[float(factor) for factor in upsample])
    x_BCXYZ, both = _pad(x_BCXYZ, pads)
    return F.conv3d(x_BCXYZ, weight.to(x_BCXYZ.dtype), _like(bias, x_BCXYZ), padding=both)


def depth_taps(x_B1XYZ: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads) -> Tensor:
    """Convolve one channel: its shifted copies along z are the channels of a flat kernel."""
    taps = weight.shape[-1]
    padded_BXYZ = F.pad(x_B1XYZ.squeeze(1), pads[2])
    layers = padded_BXYZ.shape[-1] - taps + 1
    shifted = [padded_BXYZ[..., first : first + layers] for first in range(taps)]
    x_BTXYZ = torch.stack(shifted, dim=-1).movedim(-1, 1)
    flat = weight.squeeze(1).movedim(-1, 1).unsqueeze(-1)
    return plain(x_BTXYZ, _channels_last(flat), bias, (*pads[:2], (0, 0)))


def depth_waves(x_BCXYZ: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads) -> Tensor:
    """Convolve with a discrete Fourier transform along z, in real arithmetic.

    The channels of each frequency (real, then imaginary part) are one group of a convolution over
    x and y. Padding along z costs nothing: the period is just long enough to hold it.
    """
    size, (filters, channels, *across, taps) = x_BCXYZ.shape[-1], weight.shape
    period, waves = _waves(size, pads[2])
    analysis, kernel, synthesis = _transforms(size, tuple(pads[2]), taps, weight.device)
    waved = torch.einsum("wabt,oixyt->waobixy", kernel.to(weight.dtype), weight)
    waved = waved.reshape(waves * 2 * filters, 2 * channels, *across)
    if bias is not None:  # a constant is a wave of frequency zero
        bias = F.pad(bias * period, (0, len(waved) - filters))

    x_BFXY = _along_depth(analysis, x_BCXYZ.movedim(1, -1)).flatten(-2).movedim(-1, 1)
    x_BFXY, both = _pad(x_BFXY, pads[:2])
    waved = waved.to(x_BFXY.dtype, memory_format=torch.channels_last)
    y_BFXY = F.conv2d(x_BFXY, waved, _like(bias, x_BFXY), padding=both, groups=waves)
    y_BXYF = y_BFXY.movedim(1, -1)
    y_BXYWC = y_BXYF.reshape(*y_BXYF.shape[:-1], 2 * waves, filters)
    return _along_depth(synthesis, y_BXYWC).movedim(-1, 1)


def _along_depth(matrix: Tensor, x_BXYZC: Tensor) -> Tensor:
    """Multiply each column along z with a matrix."""
    channels = x_BXYZC.shape[-1]
    if x_BXYZC.dtype == matrix.dtype or channels > WIDE_CHANNELS:
        return torch.matmul(matrix.to(x_BXYZC.dtype), x_BXYZC)
    # The matrix units of half precision do one large product with zeros sooner than many small ones.
    wide = torch.kron(matrix, torch.eye(channels, device=matrix.device))
    y_BXYF = F.linear(x_BXYZC.flatten(-2), wide.to(x_BXYZC.dtype))
    return y_BXYF.reshape(*y_BXYF.shape[:-1], len(matrix), channels)


def _waves(size: int, pad: tuple[int, int]) -> tuple[int, int]:
    """Return the odd period that keeps ``pad`` zeros free of wrapping, and its number of frequencies."""
    period = (size + max(pad)) | 1
    return period, period // 2 + 1


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _transforms(
    size: int, pad: tuple[int, int], taps: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the transforms of the image, of the kernel (as 2x2 matrices), and back to the image.

    Outside of any inference mode, because what is kept here serves training as well.
    """
    period, waves = _waves(size, pad)
    layers = size + sum(pad) - taps + 1

    def waves_at(count: int, first: int = 0) -> tuple[Tensor, Tensor]:
        cells = torch.arange(first, first + count, dtype=torch.float64, device="cpu")
        wave = torch.arange(waves, dtype=torch.float64, device="cpu") * (2 * math.pi / period)
        phase = torch.outer(wave, cells)
        return phase.cos(), phase.sin()

    cos_WZ, sin_WZ = waves_at(size)
    analysis = torch.stack([cos_WZ, -sin_WZ], dim=1).flatten(0, 1)
    # A correlation multiplies with the conjugate, which acts as the matrix (re, -im; im, re).
    cos_WT, sin_WT = waves_at(taps, -pad[0])
    kernel = torch.stack([torch.stack([cos_WT, -sin_WT], 1), torch.stack([sin_WT, cos_WT], 1)], 1)
    cos_WL, sin_WL = waves_at(layers)
    # Every frequency but zero stands for itself and its mirror.
    share_W1 = torch.where(torch.arange(waves, device="cpu") > 0, 2 / period, 1 / period)[:, None]
    synthesis = torch.stack([share_W1 * cos_WL, -share_W1 * sin_WL], dim=1).flatten(0, 1).T.contiguous()
    return analysis.float().to(device), kernel.float().to(device), synthesis.float().to(device)


def subpixel(
    x_BCXYZ: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads, upsample: Triple
) -> Tensor:
    """Convolve an upsampled image without making it."""
    filters, _, *taps = weight.shape
    sizes = x_BCXYZ.shape[2:]
    outs = [n * u + sum(p) - k + 1 for n, u, p, k in zip(sizes, upsample, pads, taps, strict=True)]
    blocks = [-(-out // u) for out, u in zip(outs, upsample, strict=True)]
    merges = [
        _merge(u, pad[0], k, weight.dtype, weight.device)
        for u, pad, k in zip(upsample, pads, taps, strict=True)
    ]
    small = weight
    for merge in merges:
        # The first tap axis goes; its positions inside a cell and its coarse taps come last.
        small = torch.tensordot(small, merge, dims=([2], [2]))
    small = small.permute(2, 4, 6, 0, 1, 3, 5, 7).reshape(
        -1, weight.shape[1], *(m.shape[1] for m in merges)
    )
    small_pads = [
        (before := -(-pad[0] // u), block + merge.shape[1] - 1 - size - before)
        for pad, u, block, merge, size in zip(pads, upsample, blocks, merges, sizes, strict=True)
    ]
    repeated = None if bias is None else bias.repeat(math.prod(upsample))
    y_BFXYZ = convolve(x_BCXYZ, _channels_last(small), repeated, small_pads)
    # (B, x, y, z, ux, uy, uz, C) to (B, x, ux, y, uy, z, uz, C): a permutation, then a view.
    y_BXYZF = y_BFXYZ.movedim(1, -1)
    y_BXYZC = (
        y_BXYZF.reshape(*y_BXYZF.shape[:-1], *upsample, filters)
        .permute(0, 1, 4, 2, 5, 3, 6, 7)
        .reshape(x_BCXYZ.shape[0], *(b * u for b, u in zip(blocks, upsample, strict=True)), filters)
    )
    x, y, z = outs
    return y_BXYZC[:, :x, :y, :z].movedim(-1, 1)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _merge(factor: int, before: int, taps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Say (position inside a cell, coarse tap, fine tap) which fine taps fall on which coarse cell."""
    position, tap = torch.arange(factor, device="cpu")[:, None], torch.arange(taps, device="cpu")
    cell = torch.div(position + tap - before, factor, rounding_mode="floor")
    coarse = torch.arange(int(cell.min()), int(cell.max()) + 1, device="cpu")
    return (cell[:, None] == coarse[:, None]).to(device=device, dtype=dtype)


def _pad(x: Tensor, pads: Pads) -> tuple[Tensor, tuple[int, ...]]:
    """Pad what a convolution cannot: it takes care of equal zeros on both sides itself."""
    if all(before == after >= 0 for before, after in pads):
        return x, tuple(before for before, _ in pads)
    return F.pad(x, [cells for pair in reversed(pads) for cells in pair]), (0,) * len(pads)


def _like(bias: Tensor | None, x: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(x.dtype)


def _channels_last(weight: Tensor) -> Tensor:
    return weight.contiguous(memory_format=torch.channels_last_3d)
