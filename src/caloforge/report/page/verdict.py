"""The verdict in words and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from caloforge.comparison.differences import Metrics
from caloforge.comparison.key_metrics import perfect, with_error
from caloforge.comparison.requirements import STATUSES, Check, Judgement, Requirement
from caloforge.report.page.cells import Cell, Column, Table, number
from caloforge.report.page.content import Report

__all__ = ["beyond", "counted", "overview", "sentences", "too_few", "verdict_table", "where"]

ERRORS = 2.0
"""Where so many errors are more than what a limit allows, the showers are too few to tell."""

MINUS, SIGMA = "\N{MINUS SIGN}", "\N{GREEK SMALL LETTER SIGMA}"

Verdict = Sequence[Judgement]


def counted(verdict: Verdict) -> str:
    """Count what is met: ``13 of 16 requirements are met, 2 of them only within errors.``."""
    held = [judgement for judgement in verdict if judgement.holds]
    narrowly = sum(judgement.status == "within errors" for judgement in held)
    text = f"{len(held)} of {len(verdict)} requirements are met"
    if len(held) == len(verdict):
        text = f"All {len(verdict)} requirements are met"
    if narrowly:
        text += f", {narrowly} of them only within errors"
    return f"{text}."


def sentences(
    verdict: Verdict, metrics: Metrics, candidate: str, reference: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Say where a candidate can be trusted: a keyword, and the lines that belong to it."""
    failed = [f"{j.title}{_after_colon(where(j))}" for j in verdict if j.status == "not met"]
    yield "In short", (_so(candidate, reference, verdict, metrics),)
    if failed:
        yield "Not met", tuple(failed)
    for status, name in (
        ("not measured", "Not measured"),
        ("within errors", "Within errors"),
        ("met", "Met"),
    ):
        if titles := [j.title for j in verdict if j.status == status]:
            yield name, ("; ".join(titles),)
    if by_energy := tuple(_energies(verdict)):
        yield "By energy", by_energy
    if doubtful := [j.title for j in verdict if too_few(j, j.overall, metrics)]:
        yield (
            "Too few showers",
            (
                f"{'; '.join(doubtful)}: the error is as large as the limit, so no conclusion can be drawn.",
            ),
        )


def _so(candidate: str, reference: str, verdict: Verdict, metrics: Metrics) -> str:
    # How many showers there are says nothing of what they are like.
    found = {j.status for j in verdict if not j.metric.startswith("n_")}
    if metrics.get("mean_ratio.total_deposit") == 0:
        return f"{candidate} cannot stand in for {reference}: none of its showers has a deposit above the threshold."
    if any(j.status == "not met" for j in verdict):
        if not found & {"met", "within errors"}:
            return f"{candidate} cannot stand in for {reference}: nothing that was measured is within the limits."
        rest = ", and some was not measured" if "not measured" in found else ""
        return (
            f"{candidate} can stand in for {reference} only where the failing quantities do not matter; "
            f"what else was measured is within the limits{rest}."
        )
    if "not measured" in found:
        return f"What was measured of {candidate} is within the limits; the rest is unknown."
    return f"{candidate} can stand in for {reference} within these limits, at all energies compared."


def _after_colon(text: str) -> str:
    return f": {text}" if text else ""


def where(judgement: Judgement) -> str:
    """Name the energies in which a requirement is not met; empty if they were not told apart."""
    failing, bins = judgement.failing, judgement.bins
    if not bins:
        return ""
    if not failing:
        return "all energies together"
    if len(failing) == len(bins):
        return "every energy"
    return _joined([check.where for check in failing])


def _joined(titles: Sequence[str]) -> str:
    """List bins of energy, neighbours as one: ``10 to 20 GeV, 20 to 30 GeV`` is ``10 to 30 GeV``."""
    found: list[str] = []
    for title in titles:
        low, to, high = title.partition(" to ")
        start, _, end = found[-1].partition(" to ") if found else ("", "", "")
        if to and end.split(" ")[0] == low:
            found[-1] = f"{start} to {high}"
        else:
            found.append(title)
    return ", ".join(found)


def _energies(verdict: Verdict) -> Iterator[str]:
    """Tell, for each division of the energies, where nothing fails, or the least."""
    divisions: dict[tuple[str, ...], list[Judgement]] = {}
    for judgement in verdict:
        if judgement.bins:
            divisions.setdefault(tuple(c.where for c in judgement.bins), []).append(judgement)
    for titles, judgements in divisions.items():
        failing = {t: [j.title for j in judgements for c in j.failing if c.where == t] for t in titles}
        good = [title for title in titles if not failing[title]]
        least, most = (f(titles, key=lambda title: len(failing[title])) for f in (min, max))
        if len(good) == len(titles):
            text = "no failure at any energy"
        elif good:
            text = f"no failure at {_joined(good)}"
        else:
            text = "failures at every energy"
            if len(failing[least]) < len(failing[most]):
                text += f", fewest at {least} ({', '.join(failing[least])})"
        names = ", ".join(j.title for j in judgements)
        yield f"{names if len(judgements) < 3 else f'{len(judgements)} requirements in bins of energy'}: {text}."


def too_few(judgement: Judgement, check: Check, metrics: Metrics) -> bool:
    """Tell whether the sample is too small for a limit: what is not shown to fail is not shown to hold.

    So it is where two errors of the value, or what two halves of the reference differ by, are more than
    the limit allows.
    """
    requirement: Requirement = judgement.requirement
    if check.value is None or check.status == "not met" or requirement.at_least is not None:
        return False
    allowed = check.limit if requirement.within is not None else check.limit - perfect(judgement.metric)
    floor = metrics.get(f"{judgement.metric}_floor") if check is judgement.overall else None
    beyond_floor = floor is not None and requirement.at_most is not None and floor > check.limit
    return ERRORS * (check.error or 0.0) > allowed or beyond_floor


def beyond(requirement: Requirement, check: Check) -> str:
    """Write by how much a value is beyond its limit, also in errors (σ); inside, the amount is negative."""
    if check.excess is None:
        return ""
    percent = requirement.within is not None
    amount = abs(check.excess) * (100 if percent else 1)
    text = f"{'+' if check.excess > 0 else MINUS}{_short(amount)}{' %' if percent else ''}"
    if check.excess > 0 and check.error:
        text += f" ({_short(check.excess / check.error)} {SIGMA})"
    return text


def _short(amount: float) -> str:
    return f"{amount:.0f}" if amount >= 99.5 else f"{amount:.2g}"


def _failing(judgement: Judgement) -> Iterator[str]:
    for check in judgement.failing:
        value = with_error(check.value, check.error)
        yield f"{check.where}: {value}, {beyond(judgement.requirement, check)}"


def _limit(requirement: Requirement) -> Cell:
    by_energy = requirement.by_energy
    lines = () if by_energy is None else (f"by energy {requirement.text(by_energy)}",)
    return Cell(requirement.text(), requirement.limit, lines=lines)


def _status(judgement: Judgement, metrics: Metrics) -> Cell:
    lines = []
    if too_few(judgement, judgement.overall, metrics):
        lines.append("too few showers to tell")
    elif thin := [c.where for c in judgement.bins if too_few(judgement, c, metrics)]:
        lines.append(f"too few showers to tell in {len(thin)} of {len(judgement.bins)} bins")
    status = judgement.status
    return Cell(status, STATUSES.index(status), status, lines=tuple(lines))


def verdict_table(report: Report, index: int) -> Table:
    """List a candidate's requirements, and how they came out."""
    metrics = report.metrics[index]
    rows = [
        (
            Cell(judgement.title, code=judgement.metric),
            _limit(judgement.requirement),
            number(
                with_error(judgement.overall.value, judgement.overall.error)
                if judgement.overall.value is not None
                else "",
                judgement.overall.value,
            ),
            number(beyond(judgement.requirement, judgement.overall), judgement.overall.excess),
            _status(judgement, metrics),
            Cell("", len(judgement.failing), lines=tuple(_failing(judgement))),
        )
        for judgement in report.verdicts[index]
    ]
    columns = (
        Column("Requirement", "text"),
        Column("Limit", "short"),
        Column("Value, all energies"),
        Column("Beyond the limit by"),
        Column("Status", "short"),
        Column("Fails in", "long"),
    )
    return Table.of(f"Requirements: {report.labels[index + 1]}", columns, rows)


def overview(report: Report) -> Table:
    """Put the candidates side by side, one requirement a row."""
    found = [{j.metric: j for j in verdict} for verdict in report.verdicts]
    names = dict.fromkeys(name for verdict in found for name in verdict)

    def cell(judgement: Judgement | None) -> Cell:
        if judgement is None:
            return Cell("")
        value = judgement.overall.value
        text = judgement.status if value is None else with_error(value, judgement.overall.error)
        lines = (where(judgement),) if judgement.failing else ()
        return Cell(text, STATUSES.index(judgement.status), judgement.status, lines=lines)

    rows = []
    for name in names:
        judgements = [verdict.get(name) for verdict in found]
        first = next(j for j in judgements if j)
        rows.append(
            (
                Cell(first.title, code=name),
                _limit(first.requirement),
                *(cell(judgement) for judgement in judgements),
            )
        )
    columns = (
        Column("Requirement", "text"),
        Column("Limit", "short"),
        *(Column(label, "short") for label in report.labels[1:]),
    )
    return Table.of("Requirements: all candidates", columns, rows)
