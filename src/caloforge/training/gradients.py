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
    and messages have the same content in every step, which keeps a resumed run exact (torch's
    DistributedDataParallel packs anew after its first step).

    With ``bf16`` messages are rounded to bfloat16: half the traffic, gradients to 3 digits.
    """

    def __init__(self, network: nn.Module, group: Group, *, bf16: bool = False) -> None:
        self._group, self._bf16 = group, bf16
        self._buckets: list[list[nn.Parameter]] = []
        if group.world > 1:
            parameters = list(network.parameters())[::-1]
            ends = torch.tensor([p.numel() for p in parameters]).cumsum(0).tolist()
            cuts = [0, *(i for i in range(1, len(ends)) if ends[i - 1] // BUCKET < ends[i] // BUCKET)]
            self._buckets = [parameters[a:b] for a, b in pairwise([*cuts, len(parameters)])]
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
            pieces = torch.split(flat, [p.numel() for p in bucket])
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
        bucket = self._buckets[len(self._sent)]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in bucket]
        )
        flat = flat.bfloat16() if self._bf16 else flat
        self._sent.append((flat, self._group.start_sum(flat)))
