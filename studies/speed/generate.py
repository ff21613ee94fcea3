"""A generated shower beside Keras and the machine's floor: the rows of ``caloforge bench generate``, and more.

The floor is what the arithmetic of the network as published, or the memory that it must touch, costs at the rates
that this machine reaches in the same rounds; fewer operations than published can beat it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from statistics import median

import torch

from caloforge.bench import Row
from caloforge.bench.generate import (
    BATCHES,
    STREAMS,
    Way,
    chosen,
    connect,
    digits,
    race,
    row_of,
    ways,
)
from caloforge.foundations.progress import Progress, silent
from caloforge.generation.sampler import Generator
from caloforge.models.registry import MODELS
from studies.speed.as_written import as_written
from studies.speed.keras_baseline import started
from studies.speed.roofline import Cost, copy_bytes_per_s, count_cost, matmul_flop_per_s

__all__ = ["measure"]

SLOW_BATCH = 1024
"""The batch from which on Keras, which then takes a minute, has one turn only."""

Rates = tuple[float, float]
"""Operations and bytes a second."""


def measure(
    seconds: float,
    seed: int,
    progress: Progress = silent,
    only: Sequence[str] = (),
    streams: Sequence[int] = STREAMS,
) -> list[Row]:
    """Time conditions to showers for about ``seconds``; first come what the machine can do at best.

    ``only`` chooses rows as in ``caloforge bench generate``. Raises UsageError where no row is chosen,
    CaloforgeError without Keras, MissingExtraError without geant4-pybind for their rows.
    """
    torch.manual_seed(seed)
    cores = torch.get_num_threads()
    wanted = chosen(all_ways(streams), only)
    best: dict[int, list[Rates]] = {threads: [] for threads in sorted({1, cores})}

    def reach() -> None:
        for threads, reached in best.items():
            torch.set_num_threads(threads)
            reached.append((matmul_flop_per_s(), copy_bytes_per_s()))
        torch.set_num_threads(cores)

    with ExitStack() as stack:
        keras = cache(lambda threads: stack.enter_context(started("generate", threads)))
        for way in wanted:
            if way.engine == "Keras":
                connect_keras(way, *keras(way.threads))
        models = connect(wanted, seed, seconds, stack)
        costs = {name: cost_of(name, model) for name, model in models.items()}
        race(wanted, seconds, progress, reach)
    rates = {n: (median(f for f, _ in it), median(b for _, b in it)) for n, it in best.items()}
    rows = [row_of(way, wanted) | _beside(way, wanted, costs, rates) for way in wanted]
    return [*_machine_rows(rates, rows[0]), *rows]


def all_ways(streams: Sequence[int]) -> Iterator[Way]:
    """List the ways of the bench, and the published network in Keras."""
    first, *others = ways(streams)
    yield first
    cores = torch.get_num_threads()
    for batch in BATCHES:
        for threads in sorted({1, cores}):
            slow = batch >= SLOW_BATCH
            if not slow or threads == cores:
                yield Way("3dgan", "Keras", batch, 1, threads, turns=1 if slow else 10**9)
    yield from others


def connect_keras(way: Way, name: str, seconds: Callable[[int], float]) -> None:
    """Let a process of Keras make the showers of a way."""
    way.engine, way.showers, way.make = name, way.batch, lambda _: seconds(way.batch)


def cost_of(name: str, generator: Generator) -> Cost:
    """Count what a network must compute and read."""
    plain = MODELS[name].build(generator.card.grid, generator.card.threshold_MeV)
    as_written(plain.eval())
    plain.prepare()
    return count_cost(generator.model, plain)


def _beside(way: Way, ways: Sequence[Way], costs: dict[str, Cost], rates: dict[int, Rates]) -> Row:
    """Return how a way stands beside its floor, and beside Keras with the same batch and cores."""
    figures: Row = dict.fromkeys(
        ("MFLOP", "kB", "GFLOP/s", "GB/s", "floor ms", "x_floor", "x_keras"), ""
    )
    if way.name in costs:
        cost = costs[way.name]
        flop_per_s, bytes_per_s = (way.cores * rate for rate in rates[1])
        floor = cost.floor_s(way.batch, *rates.get(way.cores, (flop_per_s, bytes_per_s)))
        figures |= {
            "MFLOP": round(cost.flop / 1e6, 2),
            "kB": round(cost.bytes(way.batch) / 1e3, 1),
            "GFLOP/s": round(cost.flop / way.shower_s / 1e9, 1),
            "GB/s": round(cost.bytes(way.batch) / way.shower_s / 1e9, 2),
            "floor ms": digits(1e3 * floor),
            "x_floor": round(way.shower_s / floor, 2),
        }
    for other in ways:
        if other.engine.startswith("Keras") and (other.batch, other.cores) == (way.batch, way.cores):
            figures["x_keras"] = round(other.shower_s / way.shower_s, 1)
    return figures


def _machine_rows(rates: dict[int, Rates], like: Row) -> Iterator[Row]:
    for threads, (flop_per_s, bytes_per_s) in rates.items():
        reached: Row = {"GFLOP/s": round(flop_per_s / 1e9, 1), "GB/s": round(bytes_per_s / 1e9, 1)}
        row: Row = dict.fromkeys(like, "")
        yield row | {"way": "machine", "engine": "at best", "threads": threads} | reached
