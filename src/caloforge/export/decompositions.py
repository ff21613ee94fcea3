"""What ONNX lacks, said in what it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["decompositions", "erfinv", "floor_divide"]


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return torch's own table of decompositions with what else ONNX needs."""
    aten = torch.ops.aten
    table: dict[Any, Callable[..., Any]] = torch.export.default_decompositions()
    table[aten.erfinv.default] = erfinv
    table[aten.copysign.Tensor] = lambda size, sign: torch.where(sign < 0, -size.abs(), size.abs())
    table[aten.floor_divide.default] = floor_divide
    table[aten.full_like.default] = _full_like
    table[aten.index_add.default] = lambda x, dim, index, source: x.scatter_add(dim, index, source)
    return table


def _full_like(x: Tensor, value: float, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.full(x.shape, value, dtype=dtype or x.dtype)


def floor_divide(x: Tensor, by: int) -> Tensor:
    """Divide integers up to 2^24 exactly, though an engine may multiply by a rounded inverse: 41 / 41 below 1."""
    whole = torch.floor(x.float() / by).long()
    rest = x - whole * by
    return whole + (rest >= by).long() - (rest < 0).long()


CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def erfinv(x: Tensor) -> Tensor:
    """Return the inverse error function in single precision.

    Source: M. Giles, "Approximating the erfinv function", GPU Computing Gems, Jade edition (2012) 109.
    """
    w = -torch.log((1 - x) * (1 + x))
    return x * torch.where(w < 5, _polynomial(w - 2.5, CENTRAL), _polynomial(torch.sqrt(w) - 3, TAIL))


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    first, second, *others = coefficients
    value = first * x + second
    for coefficient in others:
        value = value * x + coefficient
    return value
