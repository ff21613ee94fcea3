"""What tests of networks share: grids that must work, and a look at what leaves each convolution."""

from __future__ import annotations

import torch
from torch import nn

from caloforge.models.threedgan.layers import Convolution

GRIDS = [(25, 25, 25), (51, 51, 25), (15, 15, 30), (11, 11, 22), (9, 16, 45)]


def convolution_shapes(network: nn.Module, *inputs: torch.Tensor) -> list[tuple[int, ...]]:
    """Run a network and list the channels and grid that leave each convolution."""
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, Convolution):
            module.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    network(*inputs)
    return shapes
