"""An exponential moving average of a network's weights: steadier than any single step."""

from __future__ import annotations

import copy

import torch

from caloforge.models.base import ShowerModel

__all__ = ["MovingAverage"]


class MovingAverage:
    """Keeps ``average``, a copy of a network whose weights and buffers follow it slowly.

    The decay grows as (1 + t) / (10 + t) up to its final value, so that early averages are not
    held back by the random start.
    """

    def __init__(self, network: ShowerModel, decay: float) -> None:
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self._network = network
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the network after step ``step`` (from 0)."""
        weight = 1.0 - min(self._decay, (1 + step) / (10 + step))
        target = self.average.state_dict()
        for name, value in self._network.state_dict().items():
            if value.is_floating_point():
                target[name].lerp_(value, weight)
            else:
                target[name].copy_(value)
