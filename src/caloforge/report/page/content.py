"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.requirements import STATES, Judgement, State
from caloforge.comparison.samples import Sample

__all__ = ["Report", "Source"]


@dataclass(frozen=True)
class Source:
    """A file, as a reader of the report knows it."""

    label: str
    file: str
    provenance: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Report:
    """Candidates compared with one reference.

    ``comparisons``, ``metrics`` and ``verdicts`` hold one entry for each candidate; ``sources`` has the
    reference first. ``caveats`` are sentences that a reader of the numbers must know; ``made`` says when.
    """

    sources: tuple[Source, ...]
    comparisons: tuple[Comparison, ...]
    metrics: tuple[Metrics, ...]
    verdicts: tuple[tuple[Judgement, ...], ...]
    caveats: tuple[str, ...]
    made: str

    def __repr__(self) -> str:
        states = ", ".join(f"{self.count(state)} {state}" for state in STATES)
        return f"<Report: {', '.join(self.labels[1:])} against {self.labels[0]}; requirements: {states}>"

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The reference's sample, then the candidates'."""
        return self.comparisons[0].reference, *(compared.candidate for compared in self.comparisons)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the reference and of the candidates."""
        return tuple(source.label for source in self.sources)

    @property
    def numbers(self) -> Metrics:
        """What ``metrics.json`` holds: the numbers of one candidate, or of several by their labels."""
        if len(self.metrics) == 1:
            return self.metrics[0]
        return dict(zip(self.labels[1:], self.metrics, strict=True))

    def count(self, *states: State) -> int:
        """Count the requirements of all candidates that are in one of some states."""
        return sum(judgement.state in states for verdict in self.verdicts for judgement in verdict)
