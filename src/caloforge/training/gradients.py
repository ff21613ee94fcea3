"""Gradients added up over the workers while the backward pass still goes on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from caloforge.training.data_parallel import Group

__all__ = ["SummedGradients"]

BUCKET = 2**18
"""Numbers a message holds: 1 MB, so that the 4 MB of a network are on their way in good time."""


class SummedGradients:
    """Adds up a network's gradients: :meth:`wait` after each backward pass.

    Parameters are packed into messages in the order in which a backward pass reaches them; a message
    leaves as soon as it is complete and those before it have left. Each parameter itself tells that its
    gradient is there. So it does not matter how the network was called, a frozen network sends nothing,
    and messages have the same content in every step, which keeps a resumed run exact.

    With ``bf16`` messages are rounded to bfloat16: half the traffic, gradients to 3 digits.
    """

    def __init__(self, network: nn.Module, group: Group, *, bf16: bool = False) -> None:
        self._bf16 = bf16
        self._buckets: list[list[nn.Parameter]] = []
        if group.world > 1:
            parameters = list(network.parameters())[::-1]
            ends = torch.tensor([p.numel() for p in parameters]).cumsum(0).tolist()
            cuts = [0, *(i for i in range(1, len(ends)) if ends[i - 1] // BUCKET < ends[i] // BUCKET)]
            self._buckets = [parameters[a:b] for a, b in pairwise([*cuts, len(parameters)])]
            self._sums = group.all_reduce
            self._grids = [
                self._sums.grid(
                    sum(p.numel() for p in bucket) * (2 if bf16 else bucket[0].itemsize),
                    bucket[0].device,
                )
                for bucket in self._buckets
            ]
        self._begin()
        for number, bucket in enumerate(self._buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
                    lambda _, number=number: self._arrived(number)
                )

    def wait(self) -> None:
        """Finish: afterwards the gradients of all parameters are sums over the workers."""
        while len(self._sent) < len(self._buckets):  # parameters that this loss does not depend on
            self._send()
        for bucket, (flat, arrived) in zip(self._buckets, self._sent, strict=True):
            arrived()
            numbers = [p.numel() for p in bucket]
            pieces = torch.split(flat[: sum(numbers)], numbers)
            for parameter, piece in zip(bucket, pieces, strict=True):
                parameter.grad = torch.empty_like(parameter).copy_(piece.view_as(parameter))
        self._begin()

    def _begin(self) -> None:
        self._missing = [len(bucket) for bucket in self._buckets]
        self._sent: list[tuple[Tensor, Callable[[], object]]] = []

    def _arrived(self, number: int) -> None:
        self._missing[number] -= 1
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
            self._send()

    def _send(self) -> None:
        bucket, grid = self._buckets[len(self._sent)], self._grids[len(self._sent)]
        gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in bucket]
        if grid is not None:  # needs equal shares
            gradients.append(gradients[0].new_zeros(-sum(map(len, gradients)) % grid.workers))
        flat = torch.cat(gradients)
        flat = flat.bfloat16() if self._bf16 else flat
        self._sent.append((flat, self._sums.start(flat, grid)))
