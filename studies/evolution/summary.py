"""What the runs of a finding say: means with their uncertainties, and whether a claim holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies.evolution.findings import Claim, Finding

__all__ = ["judge", "summarise"]

Runs = Sequence[Mapping[str, Any]]

CLEAR = 3.0
"""Standard errors that a difference must be from zero. With five seeds chance gets there in 4 % of cases, with three in 10 %."""

FEWEST_SEEDS = 3


def summarise(finding: Finding, runs: Runs) -> dict[str, Any]:
    """Return each arm's numbers as pairs of mean and standard error over seeds, and a verdict on each claim.

    Where runs have a curve, ``at_equal_core_s`` is the validation's error when the quickest run of all was at
    its end.
    """
    runs = _at_equal_seconds(runs)
    rows = []
    for arm in finding.arms:
        mine = [run["numbers"] for run in runs if run["arm"] == arm]
        rows.append({"arm": arm, "seeds": len(mine), **{n: _mean(mine, n) for n in mine[0]}})
    return {"table": rows, "claims": [judge(claim, runs) for claim in finding.claims]}


def judge(claim: Claim, runs: Runs) -> dict[str, Any]:
    """Compare the best arm of both sides by the ratio of their numbers, seed by seed.

    The verdict is "confirmed" where the ratio is clearly above 1, "contradicted" where it is clearly below, else "undecided";
    fewer than three seeds never decide.
    """
    logs: dict[str, dict[int, float]] = {}
    for run in runs:
        value = max(float(run["numbers"][claim.by]), 1e-30)
        logs.setdefault(run["arm"], {})[run["seed"]] = float(np.log(value))

    def best(arms: Sequence[str]) -> str:
        return min(arms, key=lambda arm: np.mean(list(logs[arm].values())))

    better, worse = best(claim.better), best(claim.worse)
    seeds = sorted(logs[better].keys() & logs[worse].keys())
    gain_S = np.array([logs[worse][seed] - logs[better][seed] for seed in seeds])
    verdict, error = "undecided", 0.0
    if len(seeds) >= FEWEST_SEEDS:
        error = float(gain_S.std(ddof=1) / len(seeds) ** 0.5)
        if abs(gain_S.mean()) > CLEAR * error:
            verdict = "confirmed" if gain_S.mean() > 0 else "contradicted"
    ratio = float(np.exp(gain_S.mean()))
    return {
        "claim": claim.text,
        "verdict": verdict,
        "by": claim.by,
        "better": better,
        "worse": worse,
        "ratio": ratio,
        "ratio_error": ratio * error,
    }


def _mean(runs: Sequence[Mapping[str, float]], name: str) -> tuple[float, float | None]:
    values = np.array([each[name] for each in runs], np.float64)
    error = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None
    return float(values.mean()), error


def _at_equal_seconds(runs: Runs) -> Runs:
    if not all("curve" in run for run in runs):
        return runs
    end = min(run["curve"]["core_s"][-1] for run in runs)
    found = []
    for run in runs:
        curve = run["curve"]
        last = int(np.searchsorted(curve["core_s"], end, side="right")) - 1
        value = curve["error"][max(last, 0)]
        found.append({**run, "numbers": {**run["numbers"], "at_equal_core_s": value}})
    return found
