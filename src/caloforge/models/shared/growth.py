"""Larger networks that do what smaller ones did: all weights are taken over, and what is new adds nothing yet.

New filters, latent numbers and factors have weights of zero on their way out, which learn at once since
what they multiply is not zero.

Source: T. Chen, I. Goodfellow, J. Shlens, Net2Net, ICLR 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.foundations.errors import UsageError

__all__ = ["embed", "grow"]


@torch.no_grad()
def grow(model: nn.Module, given: nn.Module) -> None:
    """Take over the weights of a network of the same kind and grid, none of whose sizes is larger.

    The noise that is new must be drawn beside the old, where each network has it. Raises UsageError for
    sizes that cannot grow into each other.
    """
    new, old = model.state_dict(), given.state_dict()
    if new.keys() != old.keys():
        raise UsageError("its layers are others")
    for name, tensor in new.items():
        embed(name, tensor, old[name])


def embed(name: str, new: Tensor, old: Tensor) -> None:
    """Copy into the corner; what is new of an old row is zero, what is in new rows stays as it is."""
    if any(n < o for n, o in zip(new.shape, old.shape, strict=True)):
        raise UsageError(f"{name} would shrink from {list(old.shape)} to {list(new.shape)}")
    rows = new[: len(old)] if new.dim() else new
    if new.dim() > 1:
        rows.zero_()
    rows[tuple(slice(n) for n in old.shape)] = old
