"""The verdict: which numbers a candidate must reach, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from caloforge.comparison.differences import Metrics
from caloforge.foundations.texts import read_text
from caloforge.foundations.yaml_model import parse_yaml

__all__ = ["Check", "Judgement", "Requirement", "Status", "judge", "load_requirements"]

Status = Literal["met", "within errors", "not met", "not measured"]

STATUSES: tuple[Status, ...] = ("met", "within errors", "not measured", "not met")
"""From good to bad; a judgement is as good as its worst check."""

SIGMAS, SIGMAS_IN_BINS = 2.0, 3.0
"""A value beyond its limit by no more than this many errors is not shown to fail. There are many bins of
energy, and one of them lies beyond two errors soon."""

Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Requirement(BaseModel):
    """A number of ``metrics.json`` and its limit.

    ``within`` bounds |value - 1| of a ratio; ``at_most`` and ``at_least`` bound the value. Where the
    number is known by energy too, the limit holds in every bin, unless ``by_energy`` gives another one
    for them. ``metric`` may hold a ``*``: then every number of such a name counts, and ``*`` in the title
    is what it stands for. ``optional`` excuses a number that a detector does not have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]*\*?[A-Za-z0-9_.]*$", min_length=1)]
    title: str = ""
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
            return f"within {100 * value:g} %"
        return f"at {'most' if self.at_most is not None else 'least'} {value:g}"

    def excess(self, value: float, limit: float) -> float:
        """Tell by how much a value lies beyond a limit; it holds where this is not positive."""
        if self.within is not None:
            return abs(value - 1) - limit
        return value - limit if self.at_most is not None else limit - value


class _Requirements(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Check:
    """One value held against one limit; ``where`` names the energies."""

    where: str
    value: float | None
    error: float | None
    limit: float
    excess: float | None
    status: Status


@dataclass(frozen=True)
class Judgement:
    """A requirement, its metric, and how it came out over all energies and in each bin."""

    requirement: Requirement
    metric: str
    title: str
    overall: Check
    bins: tuple[Check, ...]

    @property
    def status(self) -> Status:
        """The worst of all checks."""
        return max((c.status for c in (self.overall, *self.bins)), key=STATUSES.index)

    @property
    def failing(self) -> tuple[Check, ...]:
        """Bins of energy in which the requirement is not met."""
        return tuple(check for check in self.bins if check.status == "not met")

    @property
    def holds(self) -> bool:
        """Whether ``--require`` is content: the number was measured and nothing is shown to fail."""
        return self.status in ("met", "within errors")


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


def judge(metrics: Metrics, requirements: Sequence[Requirement]) -> tuple[Judgement, ...]:
    """Hold numbers against requirements, in their order.

    A requirement whose number is missing or undefined is "not measured", which is not good enough,
    unless it is optional and missing: then it is left out.
    """
    return tuple(
        _judge(metrics, requirement, name)
        for requirement in requirements
        for name in _matching(metrics, requirement)
    )


def _matching(metrics: Metrics, requirement: Requirement) -> Iterator[str]:
    found = [
        name
        for name in metrics
        if fnmatchcase(name, requirement.metric) and not name.endswith(("_err", "_floor", "_by_energy"))
    ]
    yield from found or ([] if requirement.optional else [requirement.metric])


def _judge(metrics: Metrics, requirement: Requirement, name: str) -> Judgement:
    overall = _check(
        "all energies",
        requirement,
        metrics.get(name),
        metrics.get(f"{name}_err"),
        requirement.limit,
        SIGMAS,
    )
    limit = requirement.limit if requirement.by_energy is None else requirement.by_energy
    titles = _list(metrics, "auc.energy_quartiles" if name.startswith("auc.") else "energy_bins")
    values, errors = _list(metrics, f"{name}_by_energy"), _list(metrics, f"{name}_by_energy_err")
    bins = tuple(
        _check(title, requirement, value, error, limit, SIGMAS_IN_BINS)
        for title, value, error in zip_longest(titles, values, errors)
        if value is not None
    )
    before, star, after = requirement.metric.partition("*")
    stands_for = name.removeprefix(before).removesuffix(after) if star else ""
    title = requirement.title.replace("*", stands_for) or name
    return Judgement(requirement, name, title, overall, bins)


def _list(metrics: Metrics, name: str) -> list[Any]:
    value = metrics.get(name)
    return value if isinstance(value, list) else []


def _check(
    where: str, requirement: Requirement, value: Any, error: Any, limit: float, sigmas: float
) -> Check:
    if value is None:
        return Check(where, None, None, limit, None, "not measured")
    excess = requirement.excess(value, limit)
    status: Status = "met"
    if excess > 0:
        status = "within errors" if excess <= sigmas * (error or 0.0) else "not met"
    return Check(where, value, error, limit, excess, status)
