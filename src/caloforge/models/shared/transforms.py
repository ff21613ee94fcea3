"""Invertible steps between deposits in MeV and the units in which a network works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

__all__ = ["Chain", "Power", "Scale", "Transform"]


class Transform(Protocol):
    """A step that is undone exactly by :meth:`inverse`; both are differentiable."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Go towards the network."""

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Come back from the network."""

    def to_json(self) -> dict[str, Any]:
        """Describe the step for ``model.json``."""


@dataclass(frozen=True)
class Scale:
    """Multiply by a factor."""

    factor: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``factor * x``."""
        return x * self.factor

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x / factor``."""
        return x if self.factor == 1 else x / self.factor  # nothing to pass over memory for

    def to_json(self) -> dict[str, Any]:
        """Describe the step for ``model.json``."""
        return {"scale": asdict(self)}


@dataclass(frozen=True)
class Power:
    """Take non-negative values to a power."""

    exponent: float

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x ** exponent``."""
        return x**self.exponent

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x ** (1 / exponent)``."""
        return x ** (1.0 / self.exponent)

    def to_json(self) -> dict[str, Any]:
        """Describe the step for ``model.json``."""
        return {"power": asdict(self)}


@dataclass(frozen=True)
class Chain:
    """Steps one after the other."""

    steps: Sequence[Transform]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the steps in order."""
        for step in self.steps:
            x = step.forward(x)
        return x

    def inverse(self, x: torch.Tensor) -> torch.Tensor:
        """Undo the steps in reverse order."""
        for step in reversed(self.steps):
            x = step.inverse(x)
        return x

    def to_json(self) -> dict[str, Any]:
        """Describe the steps for ``model.json``."""
        return {"chain": [step.to_json() for step in self.steps]}
