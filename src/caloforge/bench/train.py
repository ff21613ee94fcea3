"""How long one training iteration takes: of the published 3DGAN, and of the copula.

An iteration is what the training loop does with one batch of real showers: the discriminator of 3DGAN learns
on them and on fakes, then the generator takes two steps; the copula, which has no critic, takes one step
with its usual batch. Every way takes its turn, round after round, and the median of the rounds counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

from caloforge.bench import Row
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.progress import Progress, silent
from caloforge.models.objective import TrainingShowers
from caloforge.models.registry import MODELS
from caloforge.showers import Showers
from caloforge.training.memory import keep_freed_memory

__all__ = ["BATCH", "COPULA_BATCH", "measure", "rows_of", "take_turns", "ways"]

BATCH, COPULA_BATCH = 16, 64
LEAST_ROUNDS = 3
PROBE = 512

Ways = Mapping[str, Callable[[], float]]
"""Functions that take one iteration, and return the seconds for its showers."""


def measure(seconds: float, seed: int, progress: Progress = silent, batch: int = BATCH) -> list[Row]:
    """Time training iterations for about ``seconds``; a row for each way, with the spread over the rounds."""
    torch.manual_seed(seed)
    return rows_of(take_turns(ways(batch), seconds, progress), batch)


def ways(batch: int) -> Ways:
    """Return what takes an iteration with so many showers, by name."""
    keep_freed_memory()  # as the training loop does
    with ShowerFile(shipped_showers("train")) as file:
        real, many = file.read(0, batch), file.read(0, COPULA_BATCH)
    found = {
        "caloforge fp32": _iterations("3dgan", real),
        "caloforge bf16": _iterations("3dgan", real, precision="bf16"),
        "copula": _iterations("copula", many, batch / COPULA_BATCH),
    }
    return found if has_bf16() else {name: way for name, way in found.items() if "bf16" not in name}


def take_turns(ways: Ways, seconds: float, progress: Progress) -> dict[str, list[float]]:
    """Return the seconds of each way's iterations, at least LEAST_ROUNDS; the first one does not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # it allocates and plans
    stop, rounds = time.monotonic() + seconds, 0
    while rounds < LEAST_ROUNDS or time.monotonic() < stop:
        for name, way in ways.items():
            taken[name].append(way())
        rounds += 1
        left = stop - time.monotonic()
        progress(rounds, max(LEAST_ROUNDS, rounds + round(rounds * left / (seconds - left + 1e-9))))
    return taken


def rows_of(taken: Mapping[str, list[float]], batch: int) -> list[Row]:
    """Return a row for each way."""
    threads = torch.get_num_threads()  # OMP_NUM_THREADS, or every core
    return [
        {
            "one iteration of": name,
            "ms/shower": round(1e3 * median(times) / batch, 1),
            "spread": f"{1e3 * min(times) / batch:.1f} - {1e3 * max(times) / batch:.1f}",
            "batch": COPULA_BATCH if name.startswith("copula") else batch,
            "threads": threads,
        }
        for name, times in taken.items()
    ]


def has_bf16() -> bool:
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


def _iterations(name: str, showers: Showers, share: float = 1.0, **settings: str) -> Callable[[], float]:
    """Return a function that trains one iteration, as the training loop does, and returns a share of the seconds."""
    family, held = MODELS[name], TrainingShowers.held(showers, 0.001)
    objective, batch = family.begin(family.settings(model=name, **settings), held), held.some()
    optimizers = {key: objective.optimizer(network, 1e-3) for key, network in objective.networks.items()}

    def iterate() -> float:
        start = time.perf_counter()
        for loss_step in objective.losses(batch):
            optimizers[loss_step.network].zero_grad(set_to_none=True)
            loss_step.loss.backward()  # type: ignore[no-untyped-call]
            optimizers[loss_step.network].step()
        return share * (time.perf_counter() - start)

    return iterate
