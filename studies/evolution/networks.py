"""Small networks that read a projection, computed for a whole population at once.

A convolution over patches that do not overlap (kernel and stride are the patch), then dense layers, ReLU between
them. All is matrix products, so that networks of one architecture share each of them. Without bias terms the
answer doubles when all deposits double.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Architecture", "first_weights", "predict", "weight_scales"]

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Architecture:
    """A network for ``patches`` patches of ``cells`` cells each: ``channels`` a patch, then layers of ``hidden``."""

    patches: int
    cells: int
    channels: int = 4
    hidden: tuple[int, ...] = (16,)
    bias: bool = False

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of each layer, without the bias."""
        widths = (self.patches * self.channels, *self.hidden, 1)
        return ((self.cells, self.channels), *pairwise(widths))

    @property
    def n_weights(self) -> int:
        """Count all weights."""
        return sum((n + self.bias) * m for n, m in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Count what one shower costs."""
        (cells, channels), *dense = self.layers
        return self.patches * cells * channels + sum(n * m for n, m in dense)

    def split(self, weights: Any) -> Iterator[Any]:
        """Cut weights (..., W) into the layers' (..., inputs, outputs); a bias is the last row."""
        first = 0
        for n, m in self.layers:
            size = (n + self.bias) * m
            part = weights[..., first : first + size]
            yield part.reshape(*part.shape[:-1], n + self.bias, m)
            first += size


def predict(architecture: Architecture, weights_PW: Tensor, patches_BNK: Tensor) -> Tensor:
    """Return the predict_all of P networks to B showers, (P, B)."""
    bias = architecture.bias
    n_networks, n_showers = len(weights_PW), len(patches_BNK)
    kernel, *dense = architecture.split(weights_PW)
    x = _layer(patches_BNK.flatten(0, 1).expand(n_networks, -1, -1), kernel, bias=bias)
    x = x.reshape(n_networks, n_showers, -1)
    for layer in dense:
        x = _layer(torch.relu(x), layer, bias=bias)
    return x[..., 0]


def _layer(x: Tensor, weights: Tensor, *, bias: bool) -> Tensor:
    if bias:
        return torch.baddbmm(weights[:, -1:], x, weights[:, :-1])
    return torch.bmm(x, weights)


@cache
def weight_scales(architecture: Architecture) -> Weights:
    """Return each weight's usual size (W,): he_normal, by the inputs of its layer."""
    sizes = [np.full((n + architecture.bias) * m, (2 / n) ** 0.5) for n, m in architecture.layers]
    return np.concatenate(sizes).astype(np.float32)


def first_weights(architecture: Architecture, draws: np.random.Generator) -> Weights:
    """Draw the weights (W,) of a new network; bias terms are zero."""
    weights_W = weight_scales(architecture) * draws.standard_normal(architecture.n_weights, np.float32)
    if architecture.bias:
        for layer in architecture.split(weights_W):
            layer[-1] = 0
    return weights_W
