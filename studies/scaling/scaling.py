"""How training scales: measured on this machine's cores and on emulated hosts, predicted beyond them.

A row's ``kind`` says whether it was measured here, fitted to that, or predicted by
:mod:`studies.scaling.cost_model`; ``error_%`` is that of a prediction. In turn:

- ``weak scaling`` (BATCH showers a rank) and ``strong scaling`` (BATCH showers in all): steps of 3dgan by
  1, 2 and 4 ranks of one thread each on this machine. Gradients are sent after the backward pass, so that
  computing, waiting for the slowest and communication are timed apart; and during it, as the training
  loop does. Every number of ranks takes its turn in each round; medians of the rounds. ``efficiency`` is relative to one rank, and to the
  cores that there are. ``cpu_ms`` is the processor time of ``compute_ms``; the rest of it other programs
  (or ranks) took. ``own_cores`` is the efficiency from processor time and communication alone: what is
  left when each rank has its core.
- ``all-reduce``: gloo through the loopback interface, and between emulated hosts; ``error_%`` is that of
  the model, whose two parameters (what gloo adds to the wire) are fitted to some of these points
  (``fitted``: its rings), and tested on the others (``tested``: a ring of three, the grids that
  training uses, the middle latency; and grids of two processes on each host).
- ``prediction``: clusters that 3DGAN was trained on; ``error_%`` is that against published efficiencies.

A terminal shows the tables of docs/scaling.md; -o and --json keep every row. Emulated hosts need root; without it a row says so. Predictions take what gloo adds to the wire from the
loopback interface, where no emulated switch takes its time.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import fmean, median, variance

from caloforge.bench import Row
from caloforge.bench.step_ranks import Times, training_ranks
from caloforge.foundations.progress import Progress, silent
from caloforge.training.gradients import BUCKET
from caloforge.training.grids import Link, Way, gloo_ring_s
from studies.scaling.allreduce import AllReduce, ThisHost, allreduce_processes
from studies.scaling.calibration import Point, fit_software, relative_errors
from studies.scaling.clusters import scaled
from studies.scaling.cost_model import Bucket, LossStep, step_time
from studies.scaling.emulation import emulated_hosts, why_not
from studies.scaling.predictions import BATCH, prediction_rows, scaling_row
from studies.scaling.scaling_tables import summary

__all__ = ["measure", "summary"]

RANKS = (1, 2, 4)
ANGLE_BATCH = 2
"""The network of 51x51x25 cells is timed at this batch, and taken to be proportional."""
CRITIC_BYTES, GENERATOR_BYTES = 4 * 73_402, 4 * 872_808
"""Gradients of 3dgan: its weights without the running statistics of BatchNorm."""
SIZES = (65_536, CRITIC_BYTES, GENERATOR_BYTES)
RINGS_AND_GRIDS: tuple[Way, ...] = (2, 3, 4, (3,), (4,), (2, 2))
TWO_A_HOST: tuple[Way, ...] = ((2, 2),)
"""Grids whose last direction lies within a host."""
REPEATS = 4
LATENCIES_S = (1e-4, 5e-4, 1e-3)
RATES = (1e8, 1e9, 1e10)
CALIBRATED = 1e9
"""Above this rate it is this machine's cores, which all emulated hosts share, that set the pace."""
MESSAGE_BYTES = 4 * BUCKET
WORDS = {"apart": "after the backward pass", "within": "during the backward pass"}

Steps = dict[tuple[str, int, int, str], list[list[Times]]]
"""(model, ranks, batch, how gradients are sent) to steps, of ranks."""
Setting = tuple[float, float, Way, int]
"""Latency (s), rate (bit/s), way, bytes."""


def measure(seconds: float, seed: int, progress: Progress = silent) -> list[Row]:
    """Measure for about ``seconds``, at least one round of each; then predict."""
    progress(0, 4)
    steps = _time_steps(seconds / 2, seed)
    rows = [*_step_rows(steps)]
    progress(1, 4)
    with allreduce_processes(ThisHost(2)) as reduce:
        # Two, so that each has its core where there are two.
        points = _time_ways([(0.0, 0.0, 2, size) for size in SIZES], seconds / 20, reduce)
    loopback = fit_software(points)
    rows += _point_rows("loopback", points, loopback)
    rows += _check_rows(steps, loopback)
    progress(2, 4)
    problem = why_not()
    if problem is None:
        rows += _emulated_rows(seconds * 0.45, loopback)
    else:
        rows.append(scaling_row("all-reduce", "not measured", f"emulated hosts: {problem}"))
    progress(3, 4)
    rows += _predictions(steps, loopback)
    progress(4, 4)
    return rows


# Steps on this machine


def _time_steps(seconds: float, seed: int) -> Steps:
    ways = [("3dgan", n, BATCH, "apart") for n in RANKS]
    ways += [("3dgan", n, BATCH // n, "apart") for n in RANKS if n > 1]
    ways += [("3dgan", n, BATCH, "within") for n in RANKS if n > 1]
    ways += [("3dgan-angle", 1, ANGLE_BATCH, "apart")]
    steps: Steps = {way: [] for way in ways}
    with ExitStack() as stack:
        step = {n: stack.enter_context(training_ranks(n, seed)) for n in RANKS}

        def take(model: str, n: int, batch: int, sending: str) -> list[Times]:
            return step[n](f"{model} {batch} {sending}")

        for way in ways:
            take(*way)  # the first one allocates, plans and connects
        stop = time.monotonic() + seconds
        while not steps[ways[-1]] or time.monotonic() < stop:
            for way in ways:
                steps[way].append(take(*way))
    return steps


def _step_rows(steps: Steps) -> Iterator[Row]:
    alone = _median_step(steps["3dgan", 1, BATCH, "apart"])
    cores = len(os.sched_getaffinity(0))
    for (model, n, batch, sending), mine in steps.items():
        if model != "3dgan":
            continue
        taken, share = _median_step(mine), batch / BATCH
        sent = f", sent {WORDS[sending]}" if n > 1 else ""
        yield scaling_row(
            "weak scaling" if batch == BATCH else "strong scaling",
            "measured",
            f"3dgan, {batch} showers a rank, {cores} cores{sent}",
            workers=n,
            efficiency=share * alone["step_s"] / taken["step_s"] * max(1.0, n / cores),
            own_cores=share * alone["cpu_s"] / (taken["cpu_s"] + taken["communication_s"]),
            **taken,
        )


def _median_step(steps: list[list[Times]]) -> dict[str, float]:
    """Return the medians over steps of the means over ranks of the sums over turns."""
    parts = ("cpu_s", "compute_s", "waiting_s", "communication_s")
    means = {
        part: [fmean(sum(turn[part] for turn in rank) for rank in step) for step in steps]
        for part in parts
    }
    totals = [sum(means[part][i] for part in parts[1:]) for i in range(len(steps))]
    return {"step_s": median(totals), **{part: median(values) for part, values in means.items()}}


# All-reduce


def _emulated_rows(seconds: float, loopback: Link) -> Iterator[Row]:
    def settings(ways: Sequence[Way]) -> list[Setting]:
        return [
            (s, rate, way, size) for s in LATENCIES_S for rate in RATES for way in ways for size in SIZES
        ]

    with emulated_hosts(4) as hosts:
        with allreduce_processes(hosts) as reduce:
            points = _time_ways(settings(RINGS_AND_GRIDS), seconds * 2 / 3, reduce, hosts.shape)
        with allreduce_processes(hosts, 2) as reduce:
            two = _time_ways(settings(TWO_A_HOST), seconds / 3, reduce, hosts.shape)
    points += [replace(point, within=loopback, per_node=2) for point in two]
    beyond = [point for point in points if 8 / point.wire.s_per_byte > CALIBRATED * 1.01]
    calibrated = [point for point in points if point not in beyond and point.per_node == 1]
    shared = [point for point in points if point not in beyond and point.per_node > 1]
    fitted = [point for point in calibrated if not _held_out(point)]
    tested = [point for point in calibrated if _held_out(point)]
    software = fit_software(fitted)
    yield from _point_rows("fitted", fitted, software)
    yield from _point_rows("tested", tested, software)
    yield from _point_rows("tested, two a host", shared, software)
    yield from _point_rows("bound by this machine's cores", beyond, software)


def _held_out(point: Point) -> bool:
    return point.wire.latency_s == LATENCIES_S[1] or point.way not in (2, 4)


def _time_ways(
    settings: Sequence[Setting],
    seconds: float,
    reduce: AllReduce,
    shape: Callable[[float, float], None] | None = None,
) -> list[Point]:
    """Time all-reduces in turn, at least one round of each; medians of the rounds' means."""
    times: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for _, _, way, size in settings:
        reduce(way, size, 1)  # connects
    stop = time.monotonic() + seconds
    while not times[settings[-1]] or time.monotonic() < stop:
        for setting in settings:
            latency_s, rate, way, size = setting
            if shape is not None:
                shape(latency_s, rate)
            # Ranks are ahead of each other in turns: only a mean tells how long a sum takes.
            times[setting].append(
                fmean(reduce(way, size, REPEATS // 2 if rate == RATES[0] else REPEATS))
            )
    return [
        Point(
            Link.of_rate(latency_s, rate) if rate else Link(0.0, 0.0), way, size, median(times[setting])
        )
        for setting in settings
        for latency_s, rate, way, size in [setting]
    ]


def _point_rows(name: str, points: Sequence[Point], software: Link) -> Iterator[Row]:
    errors = relative_errors(points, software)
    for point, error in zip(points, errors, strict=True):
        wire = point.wire
        rate = (
            f"{1e3 * wire.latency_s:g} ms, {8e-9 / wire.s_per_byte:g} Gbit/s"
            if wire.s_per_byte
            else "this host"
        )
        ring = isinstance(point.way, int)
        sides = (point.way,) if isinstance(point.way, int) else point.way
        way = f"{'ring' if ring else 'grid'} {'x'.join(map(str, sides))}"
        yield scaling_row(
            "all-reduce",
            "measured",
            f"{name}: {rate}, {way}, {point.size_bytes} bytes",
            workers=math.prod(sides),
            communication_s=point.seconds,
            error=error,
        )
    yield scaling_row(
        "calibration",
        "fitted",
        f"{name}, {len(points)} points: gloo adds {1e6 * software.latency_s:.0f} us a message, "
        f"{1e9 * software.s_per_byte:.2f} ns a byte; mean error, largest {100 * max(map(abs, errors)):.0f} %",
        error=fmean(map(abs, errors)),
    )


# Predictions


def _check_rows(steps: Steps, loopback: Link) -> Iterator[Row]:
    """Predict the measured steps of as many ranks as there are cores, from what one rank computes."""
    cores = len(os.sched_getaffinity(0))
    for n in (n for n in RANKS if 1 < n <= cores):
        pairs = steps["3dgan", n, BATCH, "apart"]
        turns = [
            replace(turn, sigma_s=like.sigma_s)
            for turn, like in zip(
                _turns(steps["3dgan", 1, BATCH, "apart"], at_once=True), _turns(pairs), strict=True
            )
        ]
        step = step_time(turns, n, partial(gloo_ring_s, n, link=loopback))
        yield scaling_row(
            "weak scaling",
            "predicted",
            f"3dgan, {BATCH} showers a rank, {cores} cores, sent {WORDS['apart']}",
            workers=n,
            step_s=step.total_s,
            compute_s=step.compute_s,
            waiting_s=step.waiting_s,
            communication_s=step.communication_s,
            efficiency=step.compute_s / step.total_s,
            error=step.total_s / _median_step(pairs)["step_s"] - 1,
        )


def _predictions(steps: Steps, loopback: Link) -> Iterator[Row]:
    pairs = steps["3dgan", 2, BATCH, "apart"]
    small, half = _turns(pairs), _turns(steps["3dgan", 2, BATCH // 2, "apart"])
    tilted = [
        # One rank has no spread over ranks: it is taken to be as large a part of a turn as in 3dgan.
        replace(turn, sigma_s=turn.compute_s * like.sigma_s / like.compute_s)
        for turn, like in zip(_turns(steps["3dgan-angle", 1, ANGLE_BATCH, "apart"]), small, strict=True)
    ]
    whole_s, half_s = (sum(turn.compute_s for turn in turns) for turns in (small, half))
    a_shower = min((whole_s - half_s) / (BATCH - BATCH // 2) / whole_s, 1 / BATCH)
    networks = {"3dgan": small, "3dgan-angle": scaled(tilted, BATCH / ANGLE_BATCH)}
    yield from prediction_rows(networks, _turns(pairs, at_once=True), a_shower, loopback)


def _turns(steps: list[list[Times]], *, at_once: bool = False) -> list[LossStep]:
    """Make the model's turns from measured ones: processor time, so that other programs do not count.

    The spread is that between the ranks of a step, so that what slows all of them does not count.
    Gradients are cut into messages as the training loop does, or are one message at the end.
    """
    turns = []
    for index in range(len(steps[0][0])):
        mine = [[rank[index] for rank in step] for step in steps]
        cpu_s = [[turn["cpu_s"] for turn in step] for step in mine]
        sizes = [size for size, _ in mine[0][0]["ready"]]
        before_s = [
            median(turn["ready"][i][1] for step in mine for turn in step) for i in range(len(sizes))
        ]
        whole = (Bucket(sum(sizes)),)
        sigma_s = math.sqrt(fmean(variance(step) if len(step) > 1 else 0.0 for step in cpu_s))
        buckets = whole if at_once else _messages(sizes, before_s)
        turns.append(LossStep(median(s for step in cpu_s for s in step), sigma_s, buckets))
    return turns


def _messages(sizes: Sequence[float], before_s: Sequence[float]) -> tuple[Bucket, ...]:
    """Pack gradients, in the order in which they are ready, by the rule of SummedGradients."""
    messages, size, ended, ready_s = list[Bucket](), 0.0, 0.0, 0.0
    for each, s in zip(sizes, before_s, strict=True):
        if size and ended // MESSAGE_BYTES < (ended + each) // MESSAGE_BYTES:
            messages.append(Bucket(size, ready_s))
            size = 0.0
        size, ended, ready_s = size + each, ended + each, s
    return (*messages, Bucket(size, ready_s))
