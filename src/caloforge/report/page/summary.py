"""A short summary in Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from caloforge.report.page.cells import Cell, Table
from caloforge.report.page.content import Report
from caloforge.report.page.numbers import key_metrics_table, protocol_tables
from caloforge.report.page.verdict import deciding, energy_states, headline, sentences, verdict_table

__all__ = ["build_summary"]

KEYWORDS = ("In short", "By energy")
"""Sentences that do not repeat the table."""


def build_summary(report: Report) -> str:
    """Write the verdict and the key metrics as GitHub's Markdown; all text is escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    reference, *candidates = report.labels
    for index, label in enumerate(candidates):
        yield f"## {_escape(label)} against {_escape(reference)}"
        yield ""
        if verdict := report.verdicts[index]:
            yield f"**{_escape(headline(verdict))}**"
            yield ""
            for name, lines in sentences(report, index):
                if name in KEYWORDS:
                    yield from (f"- {_escape(line)}" for line in lines)
            yield from (f"- {_escape(line)}" for line in deciding(report, index))
            yield ""
            yield from _table(verdict_table(report, index))
            yield from _table(energy_states(report, index))
    yield "### Numbers"
    yield ""
    yield from _table(key_metrics_table(report))
    for table in protocol_tables(report):
        yield f"### {_escape(table.title)}"
        yield ""
        yield from _table(table)
    if report.caveats:
        yield from (f"- {_escape(caveat)}" for caveat in report.caveats)
        yield ""
    counts = (
        f"{len(sample)} showers of {_escape(source.file)}"
        for sample, source in zip(report.samples, report.sources, strict=True)
    )
    plots = report.metrics[0].get("n_plots")
    yield (
        (
            f"{' against '.join(reversed(list(counts)))}"
            if len(candidates) == 1
            else f"Reference and candidates: {'; '.join(counts)}"
        )
        + f". {f'{plots} plots in report.html, m' if plots is not None else 'M'}ade {_escape(report.made)}."
    )


def _table(table: Table) -> Iterator[str]:
    titles = [
        f"{column.group}: {column.title}" if column.group else column.title for column in table.columns
    ]
    yield f"| {' | '.join(map(_escape, titles))} |"
    yield f"|{'|'.join('---:' if column.kind == 'number' else '---' for column in table.columns)}|"
    for row in table.rows:
        yield f"| {' | '.join(map(_cell, row))} |"
    yield ""


def _cell(cell: Cell) -> str:
    first = " ".join(filter(None, (cell.mark, _escape(cell.text))))
    return "<br>".join(filter(None, (first, *map(_escape, cell.lines))))


def _escape(text: str) -> str:
    """Make text that Markdown, HTML and GitHub's mentions leave as it is, on one line."""
    escaped = re.sub(r"([\\`*_{}\[\]<>()#+!|~&$-])", r"\\\1", " ".join(text.split()))
    return escaped.replace("@", "@\u2060")  # a word joiner, so that nobody is called
