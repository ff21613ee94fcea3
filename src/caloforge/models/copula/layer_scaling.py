"""Layers of many hits are scaled to the energies that were drawn for them, and all together to the drawn total."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MANY_HITS", "scales"]

MANY_HITS = 16.0
"""Hits of a layer of which half its distance (in ln) from its drawn energy is made up."""

LEAST = 0.1


def scales(layers_BZ: Tensor, in_layer_H: Tensor, deposit_H: Tensor) -> Tensor:
    """Return by what each layer's hits are scaled (B, nz).

    A layer of few hits is as uncertain as they are, and they come as one, two, three particles give them: to scale
    them would blur that, and move them across thresholds. What lacks of the total is made up by the other layers.
    """
    drawn_N = layers_BZ.reshape(-1)
    sums_N = torch.zeros_like(drawn_N).index_add(0, in_layer_H, deposit_H)
    hits_N = torch.zeros_like(drawn_N).index_add(0, in_layer_H, torch.ones_like(deposit_H))
    trust_N = hits_N**2 / (hits_N**2 + MANY_HITS**2)
    scale_N = (drawn_N / sums_N.clamp(min=1e-9)) ** trust_N
    made_BZ, trust_BZ = (some_N.view_as(layers_BZ) for some_N in (sums_N * scale_N, trust_N))
    lacking_B = (layers_BZ - made_BZ).sum(1) / (trust_BZ * made_BZ).sum(1).clamp(min=1e-9)
    return scale_N.view_as(layers_BZ) * (1 + trust_BZ * lacking_B[:, None]).clamp(min=LEAST)
