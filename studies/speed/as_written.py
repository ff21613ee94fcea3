"""The layers of 3DGAN in their plain form, and how much arithmetic they are: what faster forms are measured by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.models.threedgan.convolution import Pads, Triple, plain
from caloforge.models.threedgan.fixed_angle import LATENT, Discriminator3DGAN, Generator3DGAN
from caloforge.models.threedgan.layers import LEAK, Convolution, Dropout, LeakyDropout

__all__ = ["as_written", "iteration_flops"]


def as_written(network: nn.Module) -> nn.Module:
    """Undo what makes a network fast: plain convolutions, channels first in memory, and torch's dropout."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, LeakyDropout):
                setattr(module, name, nn.Sequential(nn.LeakyReLU(LEAK), nn.Dropout(0.2)))
            elif isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(0.2))
            elif isinstance(child, Convolution):
                child.form = _channels_first
    return network


def _channels_first(
    x_BCXYZ: Tensor, weight: Tensor, bias: Tensor | None, pads: Pads, upsample: Triple = (1, 1, 1)
) -> Tensor:
    return plain(x_BCXYZ.contiguous(), weight, bias, pads, upsample)


def iteration_flops() -> int:
    """Count the additions and multiplications that one shower's iteration has in the published layers.

    A layer's two gradients cost as much as its output each. The generator runs once for the fakes and
    trains twice; the discriminator trains twice and passes gradients through twice. Nobody needs the
    gradients of a real image and of noise.
    """
    generator, discriminator = (
        _layer_flops(network, torch.zeros(1, *shape))
        for network, shape in ((Generator3DGAN(), (LATENT,)), (Discriminator3DGAN(), (25, 25, 25)))
    )
    return 7 * sum(generator) - 2 * generator[0] + 10 * sum(discriminator) - 2 * discriminator[0]


def _layer_flops(network: nn.Module, x: Tensor) -> list[int]:
    flops: list[int] = []

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(layer.weight, Tensor)
        flops.append(2 * out.numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, Convolution | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(x)
    return flops
