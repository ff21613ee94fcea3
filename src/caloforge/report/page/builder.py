"""Fills the page's template. The only module that imports jinja2."""

from __future__ import annotations

import base64
import gzip
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import groupby
from typing import Any

from caloforge.comparison.requirements import STATES
from caloforge.foundations.errors import MissingExtraError
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.page.cells import MARKS
from caloforge.report.page.content import Report
from caloforge.report.page.numbers import (
    energy_tables,
    facts,
    key_metrics_table,
    observable_table,
    protocol_tables,
    resolution_table,
)
from caloforge.report.page.verdict import energy_states, headline, overview, sentences, verdict_table
from caloforge.report.plots.catalogue import TOPICS
from caloforge.report.plots.histograms import Plot
from caloforge.report.plots.tables import table

try:
    import jinja2
except ImportError:
    raise MissingExtraError("a report or a figure", "report") from None

__all__ = ["build_page", "fill_page", "inline_png"]

PLAIN_BYTES = 20_000
"""A plot's data beyond so many bytes is compressed: numpy and pandas read both alike."""

OPENING = next(iter(TOPICS))
"""The topic whose plots stand right below the verdict."""

WIDE = 1.6
"""Pictures wider than this times their height get a row of the page to themselves."""

SYNONYMS = {
    "sampling_fraction": "response",
    "response": "sampling fraction",
    "sampling_fraction_mean": "linearity",
    "total_deposit_mean": "linearity",
    "total_deposit_relative_error": "linearity response",
    "spread_against": "resolution",
    "resolution": "relative spread",
    "radius_9": "moliere",
    "barycentre_X0": "longitudinal radiation length",
    "score_": "roc auc",
    "roc": "score classifier",
}
"""Other words for what a plot shows whose name holds these: a search finds it by them too."""

CONTENTS = {
    "summary": "Verdict",
    "requirements": "Requirements",
    "numbers": "Numbers",
    "by-energy": "By incident energy",
    "compared": "What was compared",
}


def build_page(report: Report, drawn: Sequence[tuple[Plot, bytes]]) -> str:
    """Write the page as HTML text; every text that comes from a file or a user is escaped.

    ``drawn`` holds the plots, topic by topic, each with its PNG. The page needs nothing beside it:
    images and data are inside, and its policy allows no script but its own.
    """
    script = _file("report.js")
    sections = [
        _section(topic, list(items), report.labels)
        for topic, items in groupby(drawn, key=lambda item: item[0].topic)
    ]
    judged = [i for i in range(len(report.verdicts)) if report.verdicts[i]]
    requirements = [make(report, i) for i in judged for make in (verdict_table, energy_states)]
    if len(judged) > 1:
        requirements.insert(0, overview(report))
    return fill_page(
        _file("template.html.jinja"),
        script=script,
        reference=report.labels[0],
        candidates=" and ".join(report.labels[1:]),
        lead=f"{', '.join(s.file for s in report.sources[1:])} compared with {report.sources[0].file}. "
        f"{f'{len(drawn)} plots, m' if drawn else 'M'}ade {report.made}.",
        contents=CONTENTS,
        verdicts=list(_verdicts(report)),
        requirements=requirements,
        caveats=report.caveats,
        numbers=key_metrics_table(report),
        protocols=list(protocol_tables(report)),
        by_energy=[
            *(t for i in range(len(report.metrics)) for t in energy_tables(report, i)),
            *([fits] if (fits := resolution_table(report)).rows else []),
        ],
        observables=observable_table(report),
        facts=facts(report),
        opening=[section for section in sections if section["title"] == OPENING],
        sections=sections,
        wheres=list(dict.fromkeys(plot.where for plot, _ in drawn)),
        n_plots=len(drawn),
    )


def fill_page(template: str, *, script: str = "", **values: Any) -> str:
    """Fill a page's template, which may use the macro ``table`` for a :class:`Table`.

    It gets the reports' ``style``, and a ``policy`` under which no script runs but its own.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = _file("report.css")
    return environment.from_string(_file("table.html.jinja") + template).render(
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        **values,
    )


def inline_png(image: bytes) -> str:
    """Return a picture as an address that holds it."""
    return _inline(image, "image/png")


def _file(name: str) -> str:
    return (resources.files("caloforge.report.page") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Name an inline style or script in the page's policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _verdicts(report: Report) -> Iterator[Mapping[str, Any]]:
    for index, (label, verdict) in enumerate(zip(report.labels[1:], report.verdicts, strict=True)):
        if verdict:
            state = max((j.state for j in verdict), key=STATES.index)
            yield {
                "label": label,
                "state": state,
                "mark": MARKS[state],
                "headline": headline(verdict),
                "sentences": list(sentences(report, index)),
            }


def _section(
    topic: str, items: Sequence[tuple[Plot, bytes]], labels: tuple[str, ...]
) -> Mapping[str, Any]:
    names = dict.fromkeys(plot.observable for plot, _ in items)
    return {
        "id": topic.lower().replace(" ", "-"),
        "title": topic,
        "meaning": TOPICS.get(topic, ""),
        "definitions": [OBSERVABLES[name] for name in names if name in OBSERVABLES],
        "count": len(items),
        "figures": [_figure(plot, image, labels) for plot, image in items if not plot.folded],
        "folded": [_figure(plot, image, labels) for plot, image in items if plot.folded],
    }


def _figure(plot: Plot, image: bytes, labels: tuple[str, ...]) -> Mapping[str, Any]:
    data, suffix, kind = table(plot, labels).encode(), "csv", "text/csv"
    if len(data) > PLAIN_BYTES:
        data, suffix, kind = gzip.compress(data, mtime=0), "csv.gz", "application/gzip"
    synonyms = " ".join(words for part, words in SYNONYMS.items() if part in plot.name)
    # The header of a PNG holds its width and height.
    width, height = struct.unpack(">II", image[16:24])
    return {
        "name": plot.name,
        "title": plot.title,
        "wide": width > WIDE * height,
        "words": f"{plot.title} {plot.where} {plot.observable} {plot.name} {synonyms}".lower(),
        "where": plot.where,
        "image": inline_png(image),
        "width": width,
        "height": height,
        "data": _inline(data, kind),
        "file": f"{plot.name}.{suffix}",
        "format": "CSV" if suffix == "csv" else "CSV, compressed",
    }


def _inline(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
