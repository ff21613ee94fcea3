"""RMSprop as the published networks were trained with it, for one small network."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from studies.evolution.networks import Architecture, Weights, predict
from studies.evolution.projections import Projections

__all__ = ["GRADIENT_COST", "descend"]

GRADIENT_COST = 3
"""Passes of a shower through a network that a gradient costs: one forward, and twice that backward."""

DECAY, EPSILON = 0.9, 1e-7
"""Keras' own."""


def descend(
    architecture: Architecture,
    weights_W: Weights,
    squares_W: Weights,
    batches: Iterable[Projections],
    learning_rate: float,
) -> tuple[Weights, Weights]:
    """Take a step on each batch against the mean squared error; return weights and mean squares of gradients."""
    weights = torch.tensor(weights_W)[None].requires_grad_()
    squares = torch.tensor(squares_W)[None]
    for showers in batches:
        loss = (predict(architecture, weights, showers.patches_BNK) - showers.energy_B).square().mean()
        (slope,) = torch.autograd.grad(loss, weights)
        squares.mul_(DECAY).addcmul_(slope, slope, value=1 - DECAY)
        with torch.no_grad():
            weights.addcdiv_(slope, squares.sqrt().add_(EPSILON), value=-learning_rate)
    return weights.detach()[0].numpy(), squares[0].numpy()
