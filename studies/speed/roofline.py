"""What a shower must cost on this machine: operations and bytes, over what the machine can do at best.

Source: S. Williams, A. Waterman, D. Patterson, "Roofline", Communications of the ACM 52 (2009) 65.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.showers.batch import Given

__all__ = ["Cost", "copy_bytes_per_s", "count_cost", "matmul_flop_per_s"]

FLOAT = 4


@dataclass(frozen=True)
class Cost:
    """Operations of one shower; bytes that a batch reads once; bytes of one shower: noise and image."""

    flop: float
    weight_bytes: float
    shower_bytes: float

    def bytes(self, batch: int) -> float:
        """Return the bytes a shower that must pass through memory: weights and noise read, the image written once."""
        return self.weight_bytes / batch + self.shower_bytes

    def floor_s(self, batch: int, flop_per_s: float, bytes_per_s: float) -> float:
        """Return the seconds a shower that nothing can beat, unless it needs fewer operations."""
        return max(self.flop / flop_per_s, self.bytes(batch) / bytes_per_s)


def count_cost(model: ShowerModel, plain: ShowerModel) -> Cost:
    """Count a forward pass: operations of the matrix products and convolutions of ``plain``.

    ``plain`` is the same network with its convolutions as published; ``model`` says what is read: all
    tensors that were there before, besides what differs from shower to shower.
    """
    given, noise_BL = Given.of(torch.full((1,), 100 * GEV)), model.noise(0, 0, 1)
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            plain(given, noise_BL)
        with _Read((*given, noise_BL)) as read:
            model(given, noise_BL)
    shower_bytes = FLOAT * (model.noise_size + model.grid.n_cells)
    return Cost(float(counter.get_total_flops()), sum(read.sizes.values()), shower_bytes)


class _Read(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the sizes of what operations read and nobody of them has made, by address."""

    def __init__(self, given: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[int, int] = {}
        self._made = {_address(tensor) for tensor in given}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor) and _address(tensor) not in self._made:
                self.sizes[_address(tensor)] = tensor.untyped_storage().nbytes()
        self._made |= {
            _address(tensor) for tensor in tree_leaves(result) if isinstance(tensor, torch.Tensor)
        } - self.sizes.keys()
        return result


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def matmul_flop_per_s(size: int = 1024, repeats: int = 10) -> float:
    """Multiply matrices in single precision, with as many threads as torch has."""
    a, b = torch.ones(size, size), torch.ones(size, size)
    torch.mm(a, b)
    started = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, b)
    return repeats * 2 * size**3 / (time.perf_counter() - started)


def copy_bytes_per_s(size: int = 1 << 26, repeats: int = 3) -> float:
    """Copy numbers (256 MB of them); bytes read and written count."""
    source, target = torch.ones(size), torch.empty(size)
    target.copy_(source)
    started = time.perf_counter()
    for _ in range(repeats):
        target.copy_(source)
    return repeats * 2 * FLOAT * size / (time.perf_counter() - started)
