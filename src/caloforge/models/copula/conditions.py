"""Conditions of a shower as monomials, nearly orthogonal over the training showers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["BEND", "HIGH", "monomial_names", "monomials", "products"]

MONOMIALS = "1 e ee x y xx yy xy ex ey xxx yyy exx eyy d dd ed eee ddd edd eed"
TILTED = "s t ss tt st es et sx ty"
OF_PARTICLE = "g ge gd"
"""Of energy e, offsets x and y from the middle of a cell, depth d; of the slopes s in x and t in y for tilted
showers; of the particle g, 1 for a photon and -1 for an electron or positron, where there are both."""

HIGH = frozenset(["eee", "ddd", "edd", "eed"])
"""Those that bend how everything goes with energy and depth: small, unless many hits tell them."""

BEND = 3.0
"""Standard deviations beyond which powers of a variable stay what they are: few showers are so far out."""


def monomial_names(*, tilted: bool, particles: bool) -> list[str]:
    """Name the monomials of the conditions in their order."""
    return [*MONOMIALS.split(), *tilted * TILTED.split(), *particles * OF_PARTICLE.split()]


def products(*, tilted: bool, particles: bool) -> Tensor:
    """Pair the polynomials 1, v, v^2, v^3 of the variables v so that their products are the monomials (2, F)."""
    variables = "exyd" + "st" * tilted + "g" * particles
    number = {"1": 0} | {
        v * power: 1 + (power - 1) * len(variables) + k
        for power in (1, 2, 3)
        for k, v in enumerate(variables)
    }
    pairs = []
    for monomial in monomial_names(tilted=tilted, particles=particles):
        first = monomial[0] * monomial.count(monomial[0])
        pairs.append((number[first], number[monomial[len(first) :] or "1"]))
    return torch.tensor(pairs).T


def monomials(variables_BZV: Tensor, products_2F: Tensor) -> Tensor:
    """Evaluate the monomials (B, nz, F) of variables of unit variance."""
    bent = variables_BZV.clamp(-BEND, BEND)
    second = bent * bent - 1
    one = torch.ones_like(variables_BZV[..., :1])
    polynomials_BZP = torch.cat([one, variables_BZV, second, bent * (second - 0.8)], dim=-1)
    left_F, right_F = products_2F
    return polynomials_BZP[..., left_F] * polynomials_BZP[..., right_F]
