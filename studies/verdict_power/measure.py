"""Judge distorted showers against untouched ones, and tell how small a distortion would still be found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.metrics import metrics_by_energy
from caloforge.comparison.requirements import (
    Judgement,
    Requirement,
    by_chance,
    judge,
    load_requirements,
)
from caloforge.comparison.samples import Sample, accumulate
from caloforge.comparison.selections import INCLUSIVE
from caloforge.files import shower_file
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import ShowerWriter
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress
from caloforge.foundations.randomness import stream
from caloforge.showers import Conditions, Showers
from studies.verdict_power.distortions import DISTORTIONS

__all__ = ["ERRORS_80", "measure", "read_pool", "repeat"]

ERRORS_INTERVAL = NormalDist().inv_cdf(0.975)
ERRORS_80 = NormalDist().inv_cdf(0.8)
"""A distortion is told to be found where four in five samples of its size would fail a requirement."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The checks of a candidate by requirement and place: limit, value and error."""

    judgements: tuple[Judgement, ...]

    @property
    def checks(self) -> dict[tuple[str, str], tuple[float, float, float]]:
        """Limit, value and error by the requirement's title and the place; exact and missing numbers left out."""
        return {
            (judgement.title, check.where): (check.limit, check.value, check.error)
            for judgement in self.judgements
            for check in judgement.checks
            if check.value is not None and check.error
        }


def read_pool(paths: Sequence[Path]) -> Showers:
    """Read the showers of some files of one grid, one after another.

    Raises UsageError for different grids, CaloforgeError for a damaged file.
    """
    parts = [shower_file.read(path) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if not part.grid.same_cells(first.grid):
            raise UsageError(f"{path}: expected showers on the grid of {paths[0]}")
    return Showers(
        deposits=np.concatenate([part.deposits for part in parts]),
        incident_energy=np.concatenate([part.incident_energy for part in parts]),
        incident_theta=np.concatenate([part.incident_theta for part in parts]),
        grid=first.grid,
    )


def measure(
    pool: Showers,
    sizes: Sequence[int],
    *,
    seed: int,
    folder: Path,
    threshold_MeV: float,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """Distort one half of the showers, judge it against the other, and yield a row for each distortion.

    A row tells the states of all requirements at this number of showers, and for each of ``sizes`` the
    smallest distortion that four in five samples would fail for, by the requirement that finds it first. Effects are
    differences from the same showers undistorted; errors are the distorted showers', and go with one over the square
    root of the number.
    """
    order = stream(seed, "verdict power", "halves").permutation(len(pool))
    half = len(pool) // 2
    reference, untouched = (
        _sample(pool[rows], folder, threshold_MeV) for rows in (order[:half], order[half : 2 * half])
    )
    plain = _judge(reference, untouched)
    for done, (name, distortion) in enumerate(DISTORTIONS.items(), 1):
        rng = stream(seed, "verdict power", name)
        distorted = distortion.apply(pool[order[half : 2 * half]], distortion.size, rng)
        judged = _judge(reference, _sample(distorted, folder, threshold_MeV))
        yield {
            "distortion": name,
            "title": distortion.title,
            "size": distortion.size,
            "of": distortion.of,
            "failed": [j.title for j in judged.judgements if j.state == "failed"],
            "undecided": [j.title for j in judged.judgements if j.state == "undecided"],
            "smallest": {
                str(n): _smallest(plain, judged, distortion.size, math.sqrt(half / n)) for n in sizes
            },
        }
        progress(done, len(DISTORTIONS))


def _smallest(plain: Judged, judged: Judged, size: float, error_scale: float) -> dict[str, float]:
    """Return, by requirement, the smallest distortion that four in five samples would fail for."""
    before, after = plain.checks, judged.checks
    bound = by_chance(len(before))
    found: dict[str, float] = {}
    for place in (place for place in before if place in after):
        limit, value, _ = before[place]
        _, found_value, error = after[place]
        effect = abs(found_value - value)
        error *= error_scale
        needed = max(limit + (ERRORS_INTERVAL + ERRORS_80) * error, (bound + ERRORS_80) * error)
        if effect > 0:
            smallest = size * needed / effect
            found[place[0]] = min(smallest, found.get(place[0], math.inf))
    return {title: value for title, value in found.items() if value <= 10 * size}


def repeat(
    pool: Showers,
    n: int,
    times: int,
    *,
    seed: int,
    folder: Path,
    threshold_MeV: float,
    progress: Progress,
) -> dict[str, Any]:
    """Judge showers against others of the same pool, drawn anew each time; count what fails or is met."""
    whole = _sample(pool, folder, threshold_MeV)
    failed: dict[str, int] = {}
    states = {"failed": 0, "undecided": 0, "met": 0}
    with_failure = 0
    for time in range(times):
        order = stream(seed, "verdict power", "repetition", n, time).permutation(len(pool))
        judged = _judge(_take(whole, order[:n]), _take(whole, order[n : 2 * n]))
        for judgement in judged.judgements:
            states[judgement.state] += 1
            if judgement.state == "failed":
                failed[judgement.title] = failed.get(judgement.title, 0) + 1
        with_failure += any(j.state == "failed" for j in judged.judgements)
        progress(time + 1, times)
    return {
        "showers": n,
        "repetitions": times,
        "with_failure": with_failure,
        "failed": failed,
        "requirements": {state: count / times for state, count in states.items()},
    }


def _sample(showers: Showers, folder: Path, threshold_MeV: float) -> Sample:
    path = folder / "showers.h5"
    with ShowerWriter(path, showers.grid, {}) as writer:
        writer.append(showers)
    with ShowerFile(path) as file:
        sample = accumulate(file, [INCLUSIVE], grid=replace(showers.grid, threshold_MeV=threshold_MeV))
    path.unlink()
    return sample


def _take(sample: Sample, rows: NDArray[np.intp]) -> Sample:
    """Return some showers of a sample; its sums and hits stay those of all, and are not used here."""
    conditions: Conditions = sample.conditions[rows]
    return replace(
        sample,
        conditions=conditions,
        values={name: values[rows] for name, values in sample.values.items()},
        profiles={name: values[rows] for name, values in sample.profiles.items()},
    )


def _judge(reference: Sample, candidate: Sample) -> Judged:
    metrics: Metrics = metrics_by_energy(Comparison(reference, candidate))
    metrics |= {"n_reference": len(reference), "n_candidate": len(candidate)}
    return Judged(judge(metrics, list(_measured(load_requirements(), metrics))))


def _measured(requirements: Sequence[Requirement], metrics: Mapping[str, Any]) -> Iterator[Requirement]:
    """Choose the requirements on numbers that need no classifier and no second look at the files."""
    for requirement in requirements:
        start = requirement.metric.partition("*")[0]
        if any(name.startswith(start) for name in metrics):
            yield requirement
