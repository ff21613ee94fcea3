"""All that is measured: steps on this machine, sums on it and between emulated hosts."""

from __future__ import annotations

import json
from typing import Any

from caloforge.foundations.progress import Progress, silent
from studies.scaling.calibration import fit_software
from studies.scaling.emulation import why_not
from studies.scaling.predictions import BEFORE
from studies.scaling.steps import inputs_of, step_rows, time_steps
from studies.scaling.sums import emulated_points, latency_rows, loopback_points, sum_rows

__all__ = ["count_latencies", "measure"]


def measure(seconds: float, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """Measure for about ``seconds``; give lists of flat rows.

    ``inputs`` is what predictions are made from: gloo's costs among them are those of the loopback
    interface, where no emulated switch takes its time. What cannot be measured here is ``skipped``.
    """
    progress(0, 3)
    steps = time_steps(seconds / 2, seed)
    progress(1, 3)
    points = loopback_points(seconds / 20)
    loopback = fit_software(points)
    sums, fits = sum_rows({"loopback": points}, loopback)
    progress(2, 3)
    problem = why_not()
    if problem is None:
        more, their_fits = sum_rows(emulated_points(seconds * 0.45, loopback))
        sums, fits = sums + more, fits + their_fits
    progress(3, 3)
    return {
        "seed": seed,
        "steps": list(step_rows(steps, loopback)),
        "sums": sums,
        "calibration": fits,
        "inputs": inputs_of(steps, loopback),
        "skipped": [] if problem is None else [f"sums between emulated hosts: {problem}"],
    }


def count_latencies(hosts: int) -> dict[str, Any]:
    """Count the latencies of a sum over so many emulated hosts, if these can be; beside those before."""
    problem = why_not()
    if problem is not None:
        return {"latencies": [], "skipped": [f"latencies between emulated hosts: {problem}"]}
    before = json.loads(BEFORE.read_text(encoding="utf-8"))["latencies"]
    rows = [{**row, "before": False} for row in latency_rows(hosts)]
    return {"latencies": rows + [{**row, "before": True} for row in before], "skipped": []}
