"""All that is measured: steps on this machine, sums on it and between emulated hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from caloforge.foundations.progress import Progress, silent
from studies.scaling.calibration import fit_software
from studies.scaling.emulation import why_not
from studies.scaling.steps import inputs_of, step_rows, time_steps
from studies.scaling.sums import emulated_points, latency_rows, loopback_points, sum_rows

__all__ = ["measure"]

BEFORE = Path(__file__).with_name("before.json")
"""Latencies of the grid of exchanges that training had before it took torch's collectives alone."""


def measure(seconds: float, hosts: int, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """Measure for about ``seconds`` and the time that ``hosts`` emulated hosts take; lists of flat rows.

    ``inputs`` is what predictions are made from: gloo's costs among them are those of the loopback
    interface, where no emulated switch takes its time. What cannot be measured here is ``skipped``.
    """
    progress(0, 4)
    steps = time_steps(seconds / 2, seed)
    progress(1, 4)
    points = loopback_points(seconds / 20)
    loopback = fit_software(points)
    sums, fits = sum_rows({"loopback": points}, loopback)
    progress(2, 4)
    latencies: list[dict[str, Any]] = []
    problem = why_not()
    if problem is None:
        more, their_fits = sum_rows(emulated_points(seconds * 0.45, loopback))
        sums, fits = sums + more, fits + their_fits
        progress(3, 4)
        latencies = [{**row, "before": False} for row in latency_rows(hosts)]
        before = json.loads(BEFORE.read_text(encoding="utf-8"))["latencies"]
        latencies += [{**row, "before": True} for row in before]
    progress(4, 4)
    return {
        "seed": seed,
        "steps": list(step_rows(steps, loopback)),
        "sums": sums,
        "calibration": fits,
        "latencies": latencies,
        "inputs": inputs_of(steps, loopback),
        "predictions": [],
        "skipped": [] if problem is None else [f"sums between emulated hosts: {problem}"],
    }
