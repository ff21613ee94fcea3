"""A training iteration beside Keras and its own products: the rows of ``caloforge bench train``, and more.

Keras runs in a process of its own, and the threads are the same for all. The last rows are what the
multiplications of the published layers would take at the speed of one large matrix product: below that limit is
only who multiplies less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from caloforge.bench import Row
from caloforge.bench.train import BATCH, has_bf16, rows_of, take_turns, ways
from caloforge.foundations.progress import Progress, silent
from studies.speed.as_written import iteration_flops
from studies.speed.keras_baseline import started

__all__ = ["measure"]

MATRIX = 1536


def measure(seconds: float, seed: int, progress: Progress = silent, batch: int = BATCH) -> list[Row]:
    """Time training iterations for about ``seconds``; ``x_keras`` is how many times faster than Keras a way is.

    Raises CaloforgeError without Keras.
    """
    torch.manual_seed(seed)
    with started("train", torch.get_num_threads()) as (name, keras_seconds):
        ours = ways(batch)
        all_ways: dict[str, Callable[[], float]] = {
            name: partial(keras_seconds, batch),
            **ours,
            **{f"{way}, one thread": _one_thread(ours[way]) for way in ("caloforge fp32", "copula")},
            "its products alone, fp32": _products(batch, torch.float32),
        }
        if has_bf16():
            all_ways["its products alone, bf16"] = _products(batch, torch.bfloat16)
        taken = take_turns(all_ways, seconds, progress)
    rows = rows_of(taken, batch)
    for row, times in zip(rows, taken.values(), strict=True):
        row["x_keras"] = round(median(taken[name]) / median(times), 2)
        row["threads"] = 1 if str(row["one iteration of"]).endswith("one thread") else row["threads"]
    return rows


def _one_thread(iterate: Callable[[], float]) -> Callable[[], float]:
    """Let an iteration run on one thread, and the others as before."""

    def alone() -> float:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return iterate()
        finally:
            torch.set_num_threads(threads)

    return alone


def _products(batch: int, precision: torch.dtype) -> Callable[[], float]:
    """Return a function that says how long an iteration's products take at a matrix product's speed."""
    a = torch.randn(MATRIX, MATRIX).to(precision)
    flops = iteration_flops() * batch

    def multiply() -> float:
        start = time.perf_counter()
        a @ a
        return (time.perf_counter() - start) * flops / (2 * MATRIX**3)

    return multiply
