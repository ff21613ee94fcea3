"""Steps of 3dgan by ranks of one thread each on this machine, and what predictions take from them.

Weak scaling has BATCH showers a rank, strong scaling BATCH in all. Gradients are sent after the backward pass
(``after``), so that computing, waiting for the slowest and communication are timed apart; and ``during`` it,
as the training does. Every number of ranks takes its turn in each round; medians of the rounds.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean, median, variance
from typing import Any

from caloforge.training.gradients import BUCKET
from studies.scaling.clusters import scaled
from studies.scaling.cost_model import Bucket, Link, LossStep, gloo_ring_s, step_time
from studies.scaling.predictions import BATCH
from studies.scaling.step_ranks import Times, training_ranks

__all__ = ["RANKS", "inputs_of", "step_rows", "time_steps"]

RANKS = (1, 2, 4)
ANGLE_BATCH = 2
"""The network of 51x51x25 cells is timed at this batch, and taken to be proportional."""
MESSAGE_BYTES = 4 * BUCKET
SENT = {"apart": "after", "within": "during"}
"""When gradients are sent, in the words of :mod:`studies.scaling.step_worker` and of the rows."""


@dataclass(frozen=True)
class Setting:
    """What is timed: ``ranks`` of ``batch`` showers each, gradients sent as ``sending`` says."""

    model: str
    ranks: int
    batch: int
    sending: str = "apart"


Steps = dict[Setting, list[list[Times]]]
"""For each setting steps, each a list of ranks."""


def time_steps(seconds: float, seed: int) -> Steps:
    """Time steps for about ``seconds``, at least one round of all settings."""
    many = [n for n in RANKS if n > 1]
    settings = [Setting("3dgan", n, BATCH) for n in RANKS]
    settings += [Setting("3dgan", n, BATCH // n) for n in many]
    settings += [Setting("3dgan", n, BATCH, "within") for n in many]
    settings += [Setting("3dgan-angle", 1, ANGLE_BATCH)]
    steps: Steps = {setting: [] for setting in settings}
    with ExitStack() as stack:
        ask = {n: stack.enter_context(training_ranks(n, seed)) for n in RANKS}

        def take(setting: Setting) -> list[Times]:
            return ask[setting.ranks](f"{setting.model} {setting.batch} {setting.sending}")

        for setting in settings:
            take(setting)  # the first one allocates, plans and connects
        stop = time.monotonic() + seconds
        while not steps[settings[-1]] or time.monotonic() < stop:
            for setting in settings:
                steps[setting].append(take(setting))
    return steps


def step_rows(steps: Steps, loopback: Link) -> Iterator[dict[str, Any]]:
    """List the settings of 3dgan as measured, and the model's prediction where each rank has its core.

    ``cpu_s`` is the processor time of ``compute_s``; the rest of it other programs (or ranks) took.
    ``efficiency`` is relative to one rank, and to the cores that there are; ``own_cores`` is that from
    processor time and communication alone.
    """
    alone = _medians(steps[Setting("3dgan", 1, BATCH)])
    cores = len(os.sched_getaffinity(0))
    for setting, mine in steps.items():
        if setting.model != "3dgan":
            continue
        taken, share = _medians(mine), setting.batch / BATCH
        yield {
            "kind": "measured",
            "scaling": "weak" if setting.batch == BATCH else "strong",
            "ranks": setting.ranks,
            "batch": setting.batch,
            "sent": SENT[setting.sending] if setting.ranks > 1 else "",
            "rounds": len(mine),
            **taken,
            "efficiency": share * alone["step_s"] / taken["step_s"] * max(1.0, setting.ranks / cores),
            "own_cores": share * alone["cpu_s"] / (taken["cpu_s"] + taken["communication_s"]),
        }
    yield from _predicted(steps, loopback, [n for n in RANKS if 1 < n <= cores])


def _predicted(steps: Steps, loopback: Link, ranks: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Predict steps from what one rank computes, and the spread between ranks."""
    alone = _losses(steps[Setting("3dgan", 1, BATCH)], at_once=True)
    for n in ranks:
        measured = steps[Setting("3dgan", n, BATCH)]
        spread = _losses(measured, at_once=True)
        losses = [replace(loss, sigma_s=like.sigma_s) for loss, like in zip(alone, spread, strict=True)]
        step = step_time(losses, n, partial(gloo_ring_s, n, link=loopback))
        yield {
            "kind": "predicted",
            "scaling": "weak",
            "ranks": n,
            "batch": BATCH,
            "sent": "after",
            "step_s": step.total_s,
            **asdict(step),
            "efficiency": step.compute_s / step.total_s,
            "error": step.total_s / _medians(measured)["step_s"] - 1,
        }


def _medians(steps: list[list[Times]]) -> dict[str, float]:
    """Return the medians over steps of the means over ranks of the sums over losses."""
    parts = ("cpu_s", "compute_s", "waiting_s", "communication_s")
    means = {
        part: [fmean(sum(loss[part] for loss in rank) for rank in step) for step in steps]
        for part in parts
    }
    totals = [sum(means[part][i] for part in parts[1:]) for i in range(len(steps))]
    return {"step_s": median(totals), **{part: median(values) for part, values in means.items()}}


def inputs_of(steps: Steps, loopback: Link) -> Mapping[str, Any]:
    """Return what :func:`studies.scaling.predictions.prediction_rows` needs."""
    small = _losses(steps[Setting("3dgan", 2, BATCH)])
    half = _losses(steps[Setting("3dgan", 2, BATCH // 2)])
    tilted = [
        # One rank has no spread over ranks: it is taken to be as large a part of a loss as in 3dgan.
        replace(loss, sigma_s=loss.compute_s * like.sigma_s / like.compute_s)
        for loss, like in zip(_losses(steps[Setting("3dgan-angle", 1, ANGLE_BATCH)]), small, strict=True)
    ]
    whole_s, half_s = (sum(loss.compute_s for loss in losses) for losses in (small, half))
    networks = {"3dgan": small, "3dgan-angle": scaled(tilted, BATCH / ANGLE_BATCH)}
    return {
        "networks": {name: [asdict(loss) for loss in losses] for name, losses in networks.items()},
        "a_shower": min((whole_s - half_s) / (BATCH - BATCH // 2) / whole_s, 1 / BATCH),
        "tcp": asdict(loopback),
    }


def _losses(steps: list[list[Times]], *, at_once: bool = False) -> list[LossStep]:
    """Make the model's losses from measured ones: processor time, so that other programs do not count.

    The spread is that between the ranks of a step, so that what slows all of them does not count.
    Gradients are cut into messages as the training does, or are one message at the end.
    """
    losses = []
    for index in range(len(steps[0][0])):
        mine = [[rank[index] for rank in step] for step in steps]
        cpu_s = [[loss["cpu_s"] for loss in step] for step in mine]
        sizes = [size for size, _ in mine[0][0]["ready"]]
        before_s = [
            median(loss["ready"][i][1] for step in mine for loss in step) for i in range(len(sizes))
        ]
        sigma_s = math.sqrt(fmean(variance(step) if len(step) > 1 else 0.0 for step in cpu_s))
        buckets = (Bucket(sum(sizes)),) if at_once else messages(sizes, before_s)
        losses.append(LossStep(median(s for step in cpu_s for s in step), sigma_s, buckets))
    return losses


def messages(sizes: Sequence[float], before_s: Sequence[float]) -> tuple[Bucket, ...]:
    """Pack gradients, in the order in which they are ready, by the rule of SummedGradients."""
    packed, size, ended, ready_s = list[Bucket](), 0.0, 0.0, 0.0
    for each, s in zip(sizes, before_s, strict=True):
        if size and ended // MESSAGE_BYTES < (ended + each) // MESSAGE_BYTES:
            packed.append(Bucket(size, ready_s))
            size = 0.0
        size, ended, ready_s = size + each, ended + each, s
    return (*packed, Bucket(size, ready_s))
