"""Tables of numbers: what was compared, the key metrics, by energy, and every observable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caloforge.comparison.calochallenge.protocol import sentence
from caloforge.comparison.differences import Metrics
from caloforge.comparison.key_metrics import PROTOCOL, TITLES, key_metrics, title_of, with_error
from caloforge.comparison.requirements import State, titles_of
from caloforge.foundations.units import DEGREE, GEV
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.page.cells import Cell, Column, Table, number
from caloforge.report.page.content import Report

__all__ = [
    "energy_tables",
    "facts",
    "key_metrics_table",
    "observable_table",
    "protocol_tables",
    "resolution_table",
]

MAX_TEXT = 300

BY_ENERGY = (
    "adjusted_ratio.sampling_fraction",
    "spread_ratio.sampling_fraction",
    "adjusted_ratio.hits",
    "adjusted_ratio.hits_300keV",
    "adjusted_ratio.width_across",
    "adjusted_ratio.length",
    "adjusted_ratio.barycentre_depth",
    "adjusted_ratio.measured_angle",
    "auc.low",
    "auc.high",
)
"""What the tables by energy show, besides what the requirements ask for."""

DIVISIONS = {
    "energy_points": "Points of incident energy",
    "auc.energy_quartiles": "Quartiles of incident energy",
    "energy_bins": "Bins of incident energy",
}


def facts(report: Report) -> Table:
    """Tell what was compared: a row a fact, a column a file."""
    samples, sources = report.samples, report.sources
    grid = samples[0].grid
    rows: dict[str, Sequence[object]] = {
        "File": [source.file for source in sources],
        "Showers": [len(sample) for sample in samples],
        "Without deposit": [sample.n_empty for sample in samples],
        "Incident energy": [_span(s.conditions.incident_energy / GEV, " GeV") for s in samples],
        "Mean incident energy": [
            f"{s.conditions.incident_energy.mean() / GEV:.5g} GeV" for s in samples
        ],
        "Incident angle": [_span(s.conditions.incident_theta / DEGREE, "°") for s in samples],
        "Cells": [" x ".join(map(str, grid.shape)) + f" ({', '.join(grid.axes)})"] * len(samples),
        "Read-out threshold": [f"{grid.threshold_MeV:g} MeV, applied to all"] * len(samples),
    }
    for name in dict.fromkeys(name for source in sources for name in source.provenance):
        title = name.replace("_", " ")
        rows[title[:1].upper() + title[1:]] = [s.provenance.get(name, "") for s in sources]
    columns = [
        Column("", "text"),
        *(
            Column(f"{label} ({'candidate' if number else 'reference'})", "long")
            for number, label in enumerate(report.labels)
        ),
    ]
    cells = [(Cell(name), *(Cell(_text(value)) for value in values)) for name, values in rows.items()]
    return Table("What was compared", tuple(columns), tuple(cells), sortable=False)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        text = "; ".join(f"{name} {_text(each)}" for name, each in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(map(_text, value))
    else:
        text = f"{value:.7g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"


def _span(values: Any, unit: str) -> str:
    low, high = f"{values.min():.4g}", f"{values.max():.4g}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def protocol_tables(report: Report) -> Iterator[Table]:
    """Show what a published protocol gave, if one was asked for, under the sentence that says how."""
    if "calochallenge.runs" in report.metrics[0]:
        yield key_metrics_table(report, sentence(report.metrics[0]), PROTOCOL)


def key_metrics_table(
    report: Report, title: str = "Numbers", titles: Mapping[str, str] = TITLES
) -> Table:
    """Show the few numbers below the verdict, candidates side by side."""
    found = [{line.name: line for line in key_metrics(metrics, titles)} for metrics in report.metrics]
    rows = []
    for name in dict.fromkeys(name for lines in found for name in lines):
        lines = [candidate.get(name) for candidate in found]
        first = next(line for line in lines if line)
        cells = [Cell(first.title, code=name), number(f"{first.perfect:g}", first.perfect)]
        for line in lines:
            cells.append(number(with_error(line.value, line.error), line.value) if line else Cell(""))
            cells.append(_plain(line.floor, line.floor_error) if line else Cell(""))
        rows.append(cells)
    columns = [Column("Quantity", "text"), Column("If perfect")]
    for label in report.labels[1:]:
        group = label if len(report.labels) > 2 else ""
        columns += [Column("Value", group=group), Column("Same source", group=group)]
    return Table.of(title, columns, rows)


def _plain(value: float | None, error: float | None = None) -> Cell:
    """Write a number of less interest, shorter; nothing where it is undefined."""
    if value is None:
        return Cell("")
    return number(with_error(value, error) if error else f"{value:.2g}", value)


def energy_tables(report: Report, index: int) -> Iterator[Table]:
    """Show what is known by energy of a candidate, a table for each division of the energies."""
    metrics, label = report.metrics[index], report.labels[index + 1]
    for division, title in DIVISIONS.items():
        titles = metrics.get(division)
        if not titles:
            continue
        rows = list(_absolute(report, index)) if division == "energy_points" else []
        for name in _by_energy(report, index):
            values = metrics.get(f"{name}_by_energy")
            if values and titles_of(name) == division:
                errors = metrics.get(f"{name}_by_energy_err") or [None] * len(values)
                checks = _checks(report, index, name)
                cells = (
                    _checked(value, error, checks.get(where))
                    for where, value, error in zip(titles, values, errors, strict=True)
                )
                rows.append((Cell(_head(report, index, name), code=name), *cells))
        if rows:
            columns = [Column("Quantity", "text"), *(Column(where) for where in titles)]
            yield Table(f"{title}: {label}", tuple(columns), tuple(rows), sortable=False)


def _by_energy(report: Report, index: int) -> Sequence[str]:
    """List the numbers that the tables show: those judged one by one, and a few more."""
    names = (j.metric for j in report.verdicts[index] if "*" not in j.metric)
    return list(dict.fromkeys([*names, *BY_ENERGY]))


def _checks(report: Report, index: int, name: str) -> dict[str, State]:
    judged = (j for j in report.verdicts[index] if j.metric == name)
    return {check.where: check.state for j in judged for check in j.checks}


def _head(report: Report, index: int, name: str) -> str:
    titles = (j.title for j in report.verdicts[index] if j.metric == name)
    return next(titles, title_of(name))


def _checked(value: float | None, error: float | None, state: State | None) -> Cell:
    return number(with_error(value, error) if value is not None else "", value, state)


ABSOLUTE = (
    ("response", "", "Response"),
    ("response", "linearity_", "Linearity"),
    ("resolution", "", "Resolution, central 68 %"),
    ("resolution", "core_", "Resolution, Gaussian core"),
)


def _absolute(report: Report, index: int) -> Iterator[tuple[Cell, ...]]:
    """Return numbers of showers, and response and resolution of both files, at the points of energy."""
    compared, metrics = report.comparisons[index], report.metrics[index]
    sides = (("reference", compared.reference), ("candidate", compared.candidate))
    labels = dict(
        zip(("reference", "candidate"), (report.labels[0], report.labels[index + 1]), strict=True)
    )
    for side, sample in sides:
        counts = (int(point.mask(sample.conditions).sum()) for point in compared.places.points)
        yield Cell(f"Showers: {labels[side]}"), *(number(str(count), count) for count in counts)
    for kind, prefix, title in ABSOLUTE:
        for side, _ in sides:
            values, errors = (metrics[kind][f"{prefix}{side}{end}"] for end in ("", "_err"))
            yield (
                Cell(f"{title}: {labels[side]}"),
                *(_checked(value, error, None) for value, error in zip(values, errors, strict=True)),
            )


def resolution_table(report: Report) -> Table:
    """Show the fits of the resolution, two rows a file."""
    sides = [(report.labels[0], report.metrics[0], "reference")]
    for label, metrics in zip(report.labels[1:], report.metrics, strict=True):
        sides.append((label, metrics, "candidate"))
    rows = []
    for kind, what in (("fit", "central 68 %"), ("fit_core", "Gaussian core")):
        for label, metrics, side in sides:
            fit = metrics["resolution"][kind][side]
            if fit["a"] is not None:
                terms = (number(with_error(fit[t], fit[f"{t}_err"]), fit[t]) for t in "abc")
                chi2 = number(f"{fit['chi2']:.1f} / {fit['points']} points", fit["chi2"])
                rows.append((Cell(f"{label}, {what}"), *terms, chi2))
    columns = (
        Column("", "text"),
        Column("a [√GeV]"),
        Column("b"),
        Column("c [GeV]"),
        Column("χ²"),
    )
    return Table("Resolution: a/√E ⊕ b ⊕ c/E", columns, tuple(rows), sortable=False)


def observable_table(report: Report) -> Table:
    """List every observable with one value a shower, candidates side by side."""
    columns = [Column("Observable", "text"), Column(f"Mean, {report.labels[0]}")]
    several = len(report.comparisons) > 1
    for label in report.labels[1:]:
        columns += [
            Column(title, group=label if several else "")
            for title in (
                "Mean" if several else f"Mean, {label}",
                "Ratio at equal conditions",
                "Ratio of spreads",
                "Separation",
                "Same source",
                "KS p-value",
            )
        ]
    columns.append(Column("Definition", "long"))
    names = dict.fromkeys(name for compared in report.comparisons for name in compared.scalars)
    rows = []
    for name in names:
        definition = OBSERVABLES[name]
        cells = [Cell(definition.label, code=name), _mean(report.comparisons[0].summaries[0], name)]
        for compared, metrics in zip(report.comparisons, report.metrics, strict=True):
            cells += [
                _mean(compared.summaries[1], name),
                _measured(metrics, f"adjusted_ratio.{name}"),
                _measured(metrics, f"spread_ratio.{name}"),
                _measured(metrics, f"separation.{name}"),
                _plain(metrics.get(f"separation.{name}_floor")),
                _plain(metrics.get(f"ks.{name}_p_value")),
            ]
        rows.append([*cells, Cell(definition.meaning)])
    return Table.of("All observables", columns, rows)


def _mean(summary: Any, name: str) -> Cell:
    if name not in summary.columns:
        return Cell("")
    mean, error = float(summary.mean(name)[0, 0]), float(summary.error(name)[0, 0])
    if not np.isfinite(mean):
        return number("undefined", None)
    return number(with_error(mean, error if np.isfinite(error) else None), mean)


def _measured(metrics: Metrics, name: str) -> Cell:
    if name not in metrics:
        return Cell("")
    return number(with_error(metrics[name], metrics.get(f"{name}_err")), metrics[name])
