"""The verdict: which numbers a candidate must reach, and whether it does.

A requirement holds one number, or many of a kind, against a limit: over all energies, at each point of energy and
in each range of them (:mod:`caloforge.comparison.energy_points`). Each of these checks is

met
    if the number's interval of 95 % lies inside the limit;
failed
    if the interval lies outside, and a deviation so large is not to be expected by chance among all
    checks of the verdict (5 % for all of them together, after Bonferroni): a verdict has hundreds,
    one in twenty of which would else lie outside by chance where showers are few; and at least 100 showers
    of each file are at this place;
undecided
    else: there are too few showers to tell, or the number was not measured.

A requirement is failed if any of its checks is, met if all are, and undecided else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from caloforge.comparison.differences import Metrics
from caloforge.comparison.key_metrics import perfect
from caloforge.foundations.texts import read_text
from caloforge.foundations.yaml_model import parse_yaml

__all__ = [
    "STATES",
    "Check",
    "Judgement",
    "Requirement",
    "State",
    "by_chance",
    "judge",
    "load_requirements",
    "titles_of",
]

State = Literal["met", "undecided", "failed"]

STATES: tuple[State, ...] = ("met", "undecided", "failed")
"""From good to bad; a judgement is as good as its worst check."""

CONFIDENCE = 0.95
Z_INTERVAL = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

FEWEST = 100
"""A number from fewer showers is not failed: its error is too uncertain to tell a fault from luck."""

NEAR = 0.2
"""A value nearer to its limit than this fraction of it is taken to be so far when showers are counted that
would decide: else the number would be endless by chance."""

RANGES = "energy_ranges"

Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Requirement(BaseModel):
    """A number of ``metrics.json`` and its limit.

    ``within`` bounds |value - 1| of a ratio and |value| of a difference; ``at_most`` and ``at_least``
    bound the value. Where the number is known by energy too, the limit holds there; ``by_energy`` gives
    another one for single points, where fewer showers tell, but not for ranges. ``metric`` may hold a
    ``*``: then every number of such a name counts, and ``part`` says what the star stands for
    (``layer *``). ``optional`` excuses a number that a detector does not have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]*\*?[A-Za-z0-9_.]*$", min_length=1)]
    title: str = ""
    part: str = "*"
    within: Limit | None = None
    at_most: Limit | None = None
    at_least: Limit | None = None
    by_energy: Limit | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _one_limit(self) -> Requirement:
        if sum(limit is not None for limit in (self.within, self.at_most, self.at_least)) != 1:
            raise ValueError("expected one of within, at_most and at_least")
        return self

    @property
    def limit(self) -> float:
        """The limit over all energies."""
        return next(x for x in (self.within, self.at_most, self.at_least) if x is not None)

    def text(self, limit: float | None = None) -> str:
        """Write the limit: ``within 2 %``, ``at most 0.6``."""
        value = self.limit if limit is None else limit
        if self.within is not None:
            return f"within {100 * value:g} %" if perfect(self.metric) == 1 else f"within {value:g}"
        return f"at {'most' if self.at_most is not None else 'least'} {value:g}"

    def excess(self, value: float, limit: float) -> float:
        """Tell by how much a value lies beyond a limit; it holds where this is not positive."""
        if self.within is not None:
            return abs(value - perfect(self.metric)) - limit
        return value - limit if self.at_most is not None else limit - value


class _Requirements(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Check:
    """One value held against one limit at one place.

    ``where`` names the part (a layer) and the energies, ``energies_GeV`` bounds them where they are known.
    ``floor`` is what two samples of one source would have, of a number that is never negative; ``there`` the
    showers of the smaller file at this place, where they are known.
    ``showers`` of each file, in all, would decide an undecided check; None where no number can be told.
    """

    where: str
    value: float | None
    error: float | None
    limit: float
    floor: float = 0.0
    energies_GeV: tuple[float, float] | None = None
    there: int | None = None
    state: State = "undecided"
    showers: int | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of 95 %, None of a number that is not measured."""
        if self.value is None:
            return None
        half = Z_INTERVAL * (self.error or 0.0)
        return self.value - half, self.value + half


@dataclass(frozen=True)
class Judgement:
    """A requirement and its checks: over all energies first, then by energy; by part where there are parts."""

    requirement: Requirement
    title: str
    checks: tuple[Check, ...]

    @property
    def metric(self) -> str:
        """The name of the number, or of the numbers."""
        return self.requirement.metric

    @property
    def state(self) -> State:
        """The worst of all checks."""
        return max((check.state for check in self.checks), key=STATES.index)

    def of(self, state: State) -> tuple[Check, ...]:
        """Return the checks of a state."""
        return tuple(check for check in self.checks if check.state == state)

    @property
    def worst(self) -> Check:
        """The check that says most: the one furthest beyond its limit, in errors, of the judgement's state."""
        return max(self.of(self.state), key=self.urgency)

    def urgency(self, check: Check) -> float:
        """Return by how many errors a check lies beyond its limit."""
        if check.value is None:
            return -math.inf
        excess = self.requirement.excess(check.value - check.floor, check.limit)
        return excess / check.error if check.error else math.copysign(math.inf, excess)

    @property
    def showers(self) -> int | None:
        """How many showers of each file would decide what is undecided; None if that cannot be told."""
        return max((c.showers for c in self.of("undecided") if c.showers is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return what ``metrics.json`` holds: the worst check, and every failed one."""
        counts = {state: len(self.of(state)) for state in STATES}
        entry = {"name": self.title, "metric": self.metric, "state": self.state, "checks": counts}
        entry |= {"showers": self.showers} | _entry(self.worst)
        return entry | {"failed": [_entry(check) for check in self.of("failed")]}


def _entry(check: Check) -> dict[str, Any]:
    interval = check.interval
    return {
        "where": check.where,
        "energy_range_GeV": None if check.energies_GeV is None else list(check.energies_GeV),
        "value": check.value,
        "interval": None if interval is None else list(interval),
        "limit": check.limit,
    }


def load_requirements(path: Path | None = None) -> tuple[Requirement, ...]:
    """Read requirements from a YAML file; without one, the package's own.

    Raises UsageError naming the file, the line, the field and what was expected.
    """
    if path is None:
        text = (resources.files("caloforge.comparison") / "requirements.yaml").read_text(
            encoding="utf-8"
        )
        return parse_yaml(_Requirements, text, "requirements.yaml").requirements
    text = read_text(path, "requirements in YAML")
    return parse_yaml(_Requirements, text, str(path)).requirements


def by_chance(n_checks: int) -> float:
    """Return how many errors the largest of so many deviations exceeds by chance once in twenty (Bonferroni)."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / max(1, n_checks))


def judge(metrics: Metrics, requirements: Sequence[Requirement]) -> tuple[Judgement, ...]:
    """Hold numbers against requirements, in their order.

    A requirement whose number is missing or undefined is undecided, unless it is optional and
    missing: then it is left out.
    """
    found = [(requirement, tuple(_checks(metrics, requirement))) for requirement in requirements]
    found = [(requirement, checks) for requirement, checks in found if checks]
    n_checks = sum(bool(check.error) for _, checks in found for check in checks)
    bound = by_chance(n_checks)
    sizes = [metrics.get(name) for name in ("n_reference", "n_candidate")]
    n_showers = min((size for size in sizes if size is not None), default=0)
    return tuple(
        Judgement(
            requirement,
            requirement.title or requirement.metric,
            tuple(_decide(check, requirement, bound, n_showers) for check in checks),
        )
        for requirement, checks in found
    )


def _checks(metrics: Metrics, requirement: Requirement) -> Iterator[Check]:
    before, star, after = requirement.metric.partition("*")
    ends = ("_err", "_floor", "_by_energy", "_by_range")
    names = [
        name
        for name, value in metrics.items()
        if fnmatchcase(name, requirement.metric)
        and not name.endswith(ends)
        and not isinstance(value, dict | list | str)  # curves and titles
    ]
    if not names and not requirement.optional:
        yield Check("all energies", None, None, requirement.limit)
    for name in names:
        stands_for = name.removeprefix(before).removesuffix(after).replace("_", " ")
        part = f"{requirement.part.replace('*', stands_for)}, " if star else ""
        yield from _of_name(metrics, requirement, name, part)


def _of_name(metrics: Metrics, requirement: Requirement, name: str, part: str) -> Iterator[Check]:
    value = metrics[name]
    floor = metrics.get(f"{name}_floor") or 0.0
    if name.startswith("auc."):
        floor = 0.0  # that of a classifier is no bias, but luck
    if value is not None or not part:
        yield Check(
            f"{part}all energies",
            value,
            metrics.get(f"{name}_err"),
            requirement.limit,
            floor if requirement.at_most is not None else 0.0,
        )
    at_points = requirement.limit if requirement.by_energy is None else requirement.by_energy
    for ending, key, limit in (
        ("_by_energy", titles_of(name), at_points),
        ("_by_range", RANGES, requirement.limit),
    ):
        own = (f"{name}{ending}{end}" for end in ("", "_err", "_floor"))
        columns = [_list(metrics, wanted) for wanted in (*own, key, f"{key}_GeV", f"{key}_showers")]
        for at, error, at_floor, where, energies, there in zip_longest(*columns):
            if at is not None:
                bounds = None if energies is None else (energies[0], energies[1])
                yield Check(f"{part}{where}", at, error, limit, at_floor or 0.0, bounds, there)


def titles_of(name: str) -> str:
    """Return under which name the titles stand of what is ``_by_energy``: points, bins or quartiles."""
    if name.startswith("auc."):
        return "auc.energy_quartiles"
    return "energy_bins" if name.startswith(("separation.", "shape.")) else "energy_points"


def _list(metrics: Metrics, name: str) -> list[Any]:
    value = metrics.get(name)
    return value if isinstance(value, list) else []


def _decide(check: Check, requirement: Requirement, bound: float, n_showers: int) -> Check:
    """Say which state a check is in, and how many showers would decide it."""
    if check.value is None:
        return check
    value, error = check.value - check.floor, check.error or 0.0
    excess = requirement.excess(value, check.limit)
    if excess <= -Z_INTERVAL * error:
        return replace(check, state="met")
    deviation = abs(value - perfect(requirement.metric))
    # A number without an error is exact.
    enough = not error or check.there is None or check.there >= FEWEST
    if enough and excess > Z_INTERVAL * error and deviation > bound * error:
        return replace(check, state="failed")
    allowed = abs(check.limit - (0 if requirement.within else perfect(requirement.metric)))
    gap = max(abs(excess), NEAR * allowed)
    needed = max((Z_INTERVAL * error / gap) ** 2, (bound * error / max(deviation, allowed)) ** 2)
    return replace(check, showers=math.ceil(needed * n_showers) if needed else None)
