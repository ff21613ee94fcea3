"""The sinh-arcsinh distribution: a normal number with skewness and tails, closed form in both directions.

Source: M. C. Jones, A. Pewsey, "Sinh-arcsinh distributions", Biometrika 96 (2009) 761.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bounded_sinh", "from_normal", "log_density", "to_normal"]

FARTHEST = 6.0
"""arcsinh of the largest latent that is told from infinity: beyond it a sinh would overflow a loss."""


def to_normal(x: Tensor, skew: Tensor, log_tail: Tensor) -> Tensor:
    """Return the latent normal of ``x``: ``sinh(exp(log_tail) * arcsinh(x) - skew)``."""
    return torch.sinh(_stretched(x, skew, log_tail))


def from_normal(latent: Tensor, skew: Tensor, log_tail: Tensor) -> Tensor:
    """Undo :func:`to_normal`."""
    return bounded_sinh((torch.asinh(latent) + skew) * torch.exp(-log_tail))


def bounded_sinh(stretched: Tensor) -> Tensor:
    """Return a sinh that cannot overflow."""
    return torch.sinh(stretched.clamp(-FARTHEST, FARTHEST))


def log_density(x: Tensor, skew: Tensor, log_tail: Tensor) -> Tensor:
    """Return the logarithm of the density at ``x``, without the constant ``log sqrt(2 pi)``."""
    stretched = _stretched(x, skew, log_tail)
    slope = log_tail + torch.log(torch.cosh(stretched)) - 0.5 * torch.log1p(x * x)
    return slope - 0.5 * torch.sinh(stretched) ** 2


def _stretched(x: Tensor, skew: Tensor, log_tail: Tensor) -> Tensor:
    return (torch.exp(log_tail) * torch.asinh(x) - skew).clamp(-FARTHEST, FARTHEST)
