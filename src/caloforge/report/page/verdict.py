"""The verdict in words and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from caloforge.comparison.energy_points import scan_or_span
from caloforge.comparison.key_metrics import with_error
from caloforge.comparison.requirements import STATES, Check, Judgement, Requirement, State
from caloforge.comparison.samples import Sample
from caloforge.detector import shipped_detectors
from caloforge.foundations.units import DEGREE
from caloforge.report.page.cells import Cell, Column, Table, number
from caloforge.report.page.content import Report
from caloforge.showers import ELECTRON, IN_Y_Z, NORMAL_INCIDENCE, Domain, name_of

__all__ = [
    "beside_the_energy",
    "beyond",
    "counted",
    "deciding",
    "headline",
    "overview",
    "sentences",
    "verdict_table",
    "where",
]

MINUS, SIGMA = "\N{MINUS SIGN}", "\N{GREEK SMALL LETTER SIGMA}"

MANY = 10_000_000
"""Beyond so many showers a sample is not asked for."""

ONE_ANGLE = 0.1 * DEGREE
"""Angles that differ by less are one."""

LISTED = 2
"""So many of the failed checks of a requirement are listed, the worst first."""

Verdict = Sequence[Judgement]


def counted(verdict: Verdict) -> str:
    """Count the states: ``3 failed, 5 undecided, 20 met, of 28 requirements``."""
    counts = {state: sum(j.state == state for j in verdict) for state in reversed(STATES)}
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{listed}, of {len(verdict)} requirements"


def worst(verdict: Verdict) -> Judgement | None:
    """Return the failed requirement that lies furthest beyond its limit, in errors."""
    failed = [judgement for judgement in verdict if judgement.state == "failed"]
    return max(failed, key=lambda judgement: judgement.urgency(judgement.worst), default=None)


def headline(verdict: Verdict) -> str:
    """Count the states, and name the worst failure and where it is."""
    first = worst(verdict)
    return counted(verdict) + ("." if first is None else f". Worst: {_described(first)}.")


def _described(judgement: Judgement) -> str:
    check = judgement.worst
    text = f"{judgement.title}, {check.where}: {with_error(check.value, check.error)}"
    return f"{text}, limit {judgement.requirement.text(check.limit)}"


def sentences(report: Report, index: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Say where a candidate can be trusted: a keyword, and the lines that belong to it."""
    verdict = report.verdicts[index]
    of = {state: [j for j in verdict if j.state == state] for state in STATES}
    yield "In short", (_so(report, index),)
    if of["failed"]:
        urgent = sorted(of["failed"], key=lambda j: -j.urgency(j.worst))
        yield "Failed", tuple(f"{j.title}: {where(j)}" for j in urgent)
    if of["undecided"]:
        lines = ["; ".join(j.title for j in of["undecided"])]
        yield "Undecided", (*lines, *deciding(report, index))
    if of["met"]:
        yield "Met", ("; ".join(j.title for j in of["met"]),)
    if by_energy := _by_energy(report, index):
        yield "By energy", (by_energy,)


def _so(report: Report, index: int) -> str:
    verdict, candidate, reference = report.verdicts[index], report.labels[index + 1], report.labels[0]
    states = {judgement.state for judgement in verdict}
    if report.metrics[index].get("mean_ratio.total_deposit") == 0:
        return f"{candidate} cannot stand in for {reference}: none of its showers has a deposit above the threshold."
    if "failed" in states:
        rest = " It is not known whether the rest holds." if states == {"failed", "undecided"} else ""
        return f"{candidate} can stand in for {reference} only where the failed quantities do not matter.{rest}"
    if "undecided" in states:
        return (
            f"Nothing is shown to be wrong with {candidate}, and not all is shown to be right: "
            "the undecided quantities need more showers."
        )
    return f"{candidate} can stand in for {reference} within these limits, at all energies compared."


def deciding(report: Report, index: int) -> Iterator[str]:
    """Say how many showers would decide what is undecided, and how they are made."""
    needed = [j.showers for j in report.verdicts[index] if j.state == "undecided"]
    numbers = sorted(n for n in needed if n is not None)
    if not numbers:
        return
    first, most = _round_up(numbers[0]), _round_up(numbers[-1])
    if first > MANY:
        yield f"More than {MANY:,} showers of each file would be needed to decide any of them."
        return
    text = f"{first:,} showers of each file would decide the first of them"
    if most > first:
        text += f", {most:,} all of them" if most <= MANY else f", all of them more than {MANY:,}"
    reference = report.samples[0]
    if (reference.conditions.particle == 0).any():  # a file does not say what particles were added up
        yield f"{text}."
        return
    yield f"{text}. To make more:"
    name = reference.grid.name
    detector = name if name in shipped_detectors() else "DETECTOR.yaml"
    yield (
        f"caloforge simulate --detector {detector} --events {first} "
        f"--energy {scan_or_span(reference.conditions)}{beside_the_energy(reference)} --seed 2 -o more.h5"
    )
    yield "caloforge generate MODEL --like more.h5 --seed 2 -o more-generated.h5"
    yield "caloforge validate more.h5 more-generated.h5 -o more"


def beside_the_energy(sample: Sample) -> str:
    """Write direction, impact points and particles as ``simulate`` takes them, where they are not the usual ones."""
    domain = Domain.of(sample.conditions)
    options = []
    for name, usual, span in (
        ("theta", NORMAL_INCIDENCE, domain.theta_rad),
        ("phi", IN_Y_Z, domain.phi_rad),
    ):
        if max(abs(limit - usual) for limit in span) > ONE_ANGLE:
            options.append(f"--{name} {_span(*(limit / DEGREE for limit in span))}")
    half_2 = np.array(sample.grid.cell_size or (0.0, 0.0)) / 2
    if domain.impact_mm and (sides := np.array(domain.impact_mm)).size:
        inside = (np.abs(sides) <= 1.01 * half_2[:, None]).all() and (np.ptp(sides, axis=1) > 0).all()
        if not inside:
            options.append(f"--impact {','.join(_span(*side) for side in sides)}")
    if domain.pdg_ids != (ELECTRON,):
        options.append(f"--particle {','.join(map(name_of, domain.pdg_ids))}")
    return "".join(f" {option}" for option in options)


def _span(low: float, high: float) -> str:
    return ":".join(dict.fromkeys(f"{limit:.4g}" for limit in (low, high)))


def _round_up(n: int) -> int:
    step = int(max(1, 10 ** (len(str(n)) - 2)))
    return math.ceil(n / step) * step


def where(judgement: Judgement) -> str:
    """List where a requirement is failed, the worst first, with the values; empty if it is not."""
    failed = sorted(judgement.of("failed"), key=judgement.urgency, reverse=True)
    texts = [f"{c.where} ({with_error(c.value, c.error)})" for c in failed[:LISTED]]
    if len(failed) > LISTED:
        texts.append(f"and {len(failed) - LISTED} more")
    return ", ".join(texts)


def states_at(judgement: Judgement, bounds_GeV: Sequence[float]) -> State | None:
    """Return the worst state of a requirement at one point of energy; None where it was not measured there."""
    there = [c.state for c in judgement.checks if c.energies_GeV == tuple(bounds_GeV)]
    return max(there, key=STATES.index, default=None)


def energy_states(report: Report, index: int) -> Table:
    """Show the states of the requirements at the points of energy, a row each."""
    metrics = report.metrics[index]
    points = metrics.get("energy_points") or []
    rows = []
    for judgement in report.verdicts[index]:
        states = [states_at(judgement, bounds) for bounds in metrics.get("energy_points_GeV") or []]
        if any(states):
            cells = (Cell("", STATES.index(s), s) if s else Cell("") for s in states)
            rows.append((Cell(judgement.title), *cells))
    columns = (Column("At single energies", "text"), *(Column(point, "short") for point in points))
    return Table(f"Where it holds: {report.labels[index + 1]}", columns, tuple(rows), sortable=False)


def _by_energy(report: Report, index: int) -> str:
    """Tell at which points of energy nothing fails, and where the most."""
    metrics, failing = report.metrics[index], {}
    points = metrics.get("energy_points") or []
    for point, bounds in zip(points, metrics.get("energy_points_GeV") or [], strict=True):
        failing[point] = [j.title for j in report.verdicts[index] if states_at(j, bounds) == "failed"]
    if not any(failing.values()):
        return ""
    good = [point for point in points if not failing[point]]
    most = max(points, key=lambda point: len(failing[point]))
    text = f"no failure at {', '.join(good)}; " if good else "failures at every energy; "
    return f"{text}most at {most} ({', '.join(failing[most])})."


def beyond(requirement: Requirement, check: Check) -> str:
    """Write by how much a value is beyond its limit, also in errors (σ); inside, the amount is negative."""
    if check.value is None:
        return ""
    excess = requirement.excess(check.value - check.floor, check.limit)
    percent = "%" in requirement.text(check.limit)
    amount = abs(excess) * (100 if percent else 1)
    text = f"{'+' if excess > 0 else MINUS}{_short(amount)}{' %' if percent else ''}"
    if excess > 0 and check.error:
        text += f" ({_short(excess / check.error)} {SIGMA})"
    return text


def _short(amount: float) -> str:
    return f"{amount:.0f}" if amount >= 99.5 else f"{amount:.2g}"


def _limit(requirement: Requirement) -> Cell:
    by_energy = requirement.by_energy
    lines = () if by_energy is None else (f"at an energy {requirement.text(by_energy)}",)
    return Cell(requirement.text(), requirement.limit, lines=lines)


def _value(judgement: Judgement) -> Cell:
    check = judgement.worst
    if check.value is None:
        return number("not measured", None)
    return number(with_error(check.value, check.error), check.value)


def _showers(judgement: Judgement) -> Cell:
    if judgement.state != "undecided" or judgement.showers is None:
        return number("", None)
    rounded = _round_up(judgement.showers)
    return number(f"{rounded:,}" if rounded <= MANY else f"over {MANY:,}", rounded)


def verdict_table(report: Report, index: int) -> Table:
    """List a candidate's requirements, and how they came out."""
    rows = [
        (
            Cell(j.title, code=j.metric),
            Cell(j.state, STATES.index(j.state), j.state),
            _value(j),
            Cell(j.worst.where),
            _limit(j.requirement),
            number(beyond(j.requirement, j.worst), j.urgency(j.worst)),
            Cell(", ".join(f"{len(j.of(state))} {state}" for state in reversed(STATES) if j.of(state))),
            _showers(j),
        )
        for j in sorted(report.verdicts[index], key=lambda j: -STATES.index(j.state))
    ]
    columns = (
        Column("Requirement", "text"),
        Column("State", "short"),
        Column("Value"),
        Column("Worst at", "text"),
        Column("Limit", "short"),
        Column("Beyond the limit by"),
        Column("Checks", "text"),
        Column("Showers that decide"),
    )
    return Table.of(f"Requirements: {report.labels[index + 1]}", columns, rows)


def overview(report: Report) -> Table:
    """Put the candidates side by side, one requirement a row."""
    found = [{j.metric: j for j in verdict} for verdict in report.verdicts]
    names = dict.fromkeys(name for verdict in found for name in verdict)

    def cell(judgement: Judgement | None) -> Cell:
        if judgement is None:
            return Cell("")
        text = f"{judgement.state}: {_value(judgement).text}"
        return Cell(text, STATES.index(judgement.state), judgement.state, lines=(judgement.worst.where,))

    rows = []
    for name in names:
        judgements = [verdict.get(name) for verdict in found]
        first = next(j for j in judgements if j)
        rows.append(
            (
                Cell(first.title, code=name),
                *(cell(judgement) for judgement in judgements),
                _limit(first.requirement),
            )
        )
    columns = (
        Column("Requirement", "text"),
        *(Column(label, "short") for label in report.labels[1:]),
        Column("Limit", "short"),
    )
    return Table.of("Requirements: all candidates", columns, rows)
