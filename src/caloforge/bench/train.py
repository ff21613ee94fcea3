"""How long one training iteration of the published 3DGAN takes, beside the same in Keras.

An iteration is what the training loop does with one batch of real showers: the discriminator learns
on them and on fakes, then the generator takes two steps. Every way takes its turn, round after
round, and the median of the rounds counts. Keras runs in a process of its own (backend TensorFlow
where it is installed, else torch), and the threads are the same for all. The copula, which has no critic,
takes one step with its usual batch. The last rows are what the multiplications of the published layers
would take at the speed of one large matrix product: below that limit is only who multiplies less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

from caloforge.bench import Row
from caloforge.bench.keras_baseline import started
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.progress import Progress, silent
from caloforge.models.objective import Objective, TrainingShowers
from caloforge.models.registry import MODELS
from caloforge.models.threedgan.as_written import iteration_flops
from caloforge.showers import Showers
from caloforge.training.memory import keep_freed_memory

__all__ = ["measure"]

BATCH, COPULA_BATCH = 16, 64
LEAST_ROUNDS = 3
MATRIX = 1536
PROBE = 512


def measure(seconds: float, seed: int, progress: Progress = silent, batch: int = BATCH) -> list[Row]:
    """Time training iterations for about ``seconds``; a row for each way to do the same work.

    ``x_keras`` is how many times faster than Keras a way is. Raises MissingExtraError without Keras.
    """
    threads = torch.get_num_threads()  # OMP_NUM_THREADS, or every core
    torch.manual_seed(seed)
    keep_freed_memory()  # as the training loop does
    with ShowerFile(shipped_showers("train")) as file:
        real, many = file.read(0, batch), file.read(0, COPULA_BATCH)
    with started("train", threads) as (keras_name, keras_seconds):
        ways: dict[str, Callable[[], float]] = {
            keras_name: partial(keras_seconds, batch),
            "caloforge fp32": _ours(real),
            "caloforge fp32, one thread": _one_thread(_ours(real)),
            "caloforge bf16": _ours(real, precision="bf16"),
            "copula": _copula(many, batch),
            "copula, one thread": _one_thread(_copula(many, batch)),
            "its products alone, fp32": _products(batch, torch.float32),
            "its products alone, bf16": _products(batch, torch.bfloat16),
        }
        if not _has_bf16():
            ways = {name: way for name, way in ways.items() if "bf16" not in name}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for way in ways.values():
            way()  # the first iteration allocates and plans
        stop, rounds = time.monotonic() + seconds, 0
        while rounds < LEAST_ROUNDS or time.monotonic() < stop:
            for name, way in ways.items():
                taken[name].append(way())
            rounds += 1
            left = stop - time.monotonic()
            progress(rounds, max(LEAST_ROUNDS, rounds + round(rounds * left / (seconds - left + 1e-9))))
    ms = {name: 1e3 * median(times) / batch for name, times in taken.items()}
    return [
        {
            "one iteration of": name,
            "ms/shower": round(ms[name], 1),
            "spread": f"{1e3 * min(taken[name]) / batch:.1f} - {1e3 * max(taken[name]) / batch:.1f}",
            "x_keras": round(ms[keras_name] / ms[name], 2),
            "batch": COPULA_BATCH if name.startswith("copula") else batch,
            "threads": 1 if name.endswith("one thread") else threads,
        }
        for name in ways
    ]


def _has_bf16() -> bool:
    """Tell whether the processor multiplies bfloat16 numbers itself: emulated, an iteration takes a minute."""
    taken = []
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(PROBE, PROBE, dtype=dtype)
        times = []
        for _ in range(LEAST_ROUNDS):
            started = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - started)
        taken.append(min(times))
    return taken[1] < 2 * taken[0]


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


def _ours(showers: Showers, precision: str = "fp32") -> Callable[[], float]:
    """Return a function that trains one iteration, as the training loop does, and returns seconds."""
    settings = MODELS["3dgan"].settings(model="3dgan", precision=precision)
    return _iterations(MODELS["3dgan"].begin(settings, TrainingShowers.held(showers, 0.001)), showers)


def _copula(showers: Showers, count: int) -> Callable[[], float]:
    """Return a function that trains the copula on its usual batch, and returns the seconds for ``count`` showers."""
    settings = MODELS["copula"].settings(model="copula")
    objective = MODELS["copula"].begin(settings, TrainingShowers.held(showers, 0.001))
    iterate = _iterations(objective, showers)
    return lambda: iterate() * count / len(showers)


def _iterations(objective: Objective, showers: Showers) -> Callable[[], float]:
    batch = TrainingShowers.held(showers, 0.001).some()
    optimizers = {
        name: objective.optimizer(network, 1e-3) for name, network in objective.networks.items()
    }

    def iterate() -> float:
        start = time.perf_counter()
        for loss_step in objective.losses(batch):
            optimizers[loss_step.network].zero_grad(set_to_none=True)
            loss_step.loss.backward()  # type: ignore[no-untyped-call]
            optimizers[loss_step.network].step()
        return time.perf_counter() - start

    return iterate


def _products(batch: int, precision: torch.dtype) -> Callable[[], float]:
    """Return a function that says how long an iteration's products take at a matrix product's speed."""
    a = torch.randn(MATRIX, MATRIX).to(precision)
    flops = iteration_flops() * batch

    def multiply() -> float:
        start = time.perf_counter()
        a @ a
        return (time.perf_counter() - start) * flops / (2 * MATRIX**3)

    return multiply
