"""From deposits in MeV to the units in which a network works, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Transform"]


@dataclass(frozen=True)
class Transform:
    """A factor, then a power; undone exactly by :meth:`inverse`, and differentiable both ways."""

    factor: float = 1.0
    exponent: float = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go towards the network; values are not negative where there is a power."""
        x = x * self.factor
        return x if self.exponent == 1 else x**self.exponent

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Come back from the network."""
        x = x if self.exponent == 1 else x ** (1.0 / self.exponent)
        return x if self.factor == 1 else x / self.factor  # nothing to pass over memory for

    def to_json(self) -> dict[str, Any]:
        """Describe the steps for ``model.json``."""
        scale = {"scale": {"factor": self.factor}}
        return (
            scale if self.exponent == 1 else {"chain": [scale, {"power": {"exponent": self.exponent}}]}
        )
