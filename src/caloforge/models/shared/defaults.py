"""torch as it comes, whatever a notebook has set up for other work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

__all__ = ["usual_torch"]


@contextmanager
def usual_torch() -> Iterator[None]:
    """Make tensors as torch does unless told otherwise, float32 on the CPU, for a block or a decorated function."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    elsewhere = (
        torch.get_default_device().type != "cpu"
    )  # asked first: the block costs time in every call of torch
    try:
        with torch.device("cpu") if elsewhere else nullcontext():
            yield
    finally:
        torch.set_default_dtype(before)
