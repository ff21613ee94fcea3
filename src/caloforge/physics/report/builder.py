"""Fills the page's template. The only module that imports jinja2."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import Any

import numpy as np

from caloforge.errors import MissingExtraError
from caloforge.physics.comparison import Comparison, Metrics
from caloforge.physics.headlines import headlines, with_error
from caloforge.physics.histograms import Plot
from caloforge.physics.observables import OBSERVABLES
from caloforge.units import DEGREE, GEV

try:
    import jinja2
except ImportError:
    raise MissingExtraError("validate", "report") from None

__all__ = ["Source", "build_page"]

MAX_TEXT = 300


@dataclass(frozen=True)
class Source:
    """One of the two files, as a reader of the report knows it."""

    label: str
    file: str
    provenance: Mapping[str, Any]


def build_page(
    compared: Comparison,
    metrics: Metrics,
    sources: tuple[Source, Source],
    notes: Sequence[str],
    drawn: Sequence[tuple[Plot, bytes]],
    *,
    made: str,
) -> str:
    """Write the page as HTML text; every text that comes from a file or a user is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = resources.files("caloforge.physics.report") / "template.html.jinja"
    return environment.from_string(text.read_text(encoding="utf-8")).render(
        labels=[source.label for source in sources],
        files=[source.file for source in sources],
        made=made,
        headlines=[
            {
                "title": line.title,
                "name": line.name,
                "value": with_error(line.value, line.error),
                "perfect": f"{line.perfect:g}",
                "floor": "" if line.floor is None else f"{line.floor:.2g}",
            }
            for line in headlines(metrics)
        ],
        facts=list(_facts(compared, sources)),
        notes=notes,
        bins=list(_bins(compared)),
        observables=list(_observables(compared, metrics)),
        sections=[
            (topic, [_figure(plot, image) for plot, image in items])
            for topic, items in groupby(drawn, key=lambda item: item[0].topic)
        ],
        n_plots=len(drawn),
    )


def _figure(plot: Plot, image: bytes) -> dict[str, Any]:
    return {
        "name": plot.name,
        "title": plot.title,
        "wide": plot.kind != "curves",
        "data": "data:image/png;base64," + base64.b64encode(image).decode("ascii"),
    }


def _facts(compared: Comparison, sources: tuple[Source, Source]) -> Iterator[tuple[str, str, str]]:
    """Rows of the table of what was compared: a name, and the reference's and candidate's entry."""
    samples = (compared.reference, compared.candidate)

    def row(name: str, *values: object) -> tuple[str, str, str]:
        reference, candidate = (_text(value) for value in values)
        return name, reference, candidate

    yield row("File", *(source.file for source in sources))
    yield row("Showers", *map(len, samples))
    yield row("Without deposit", *(sample.n_empty for sample in samples))
    yield row("Incident energy", *(_span(s.conditions.incident_energy / GEV, " GeV") for s in samples))
    yield row(
        "Mean incident energy",
        *(f"{s.conditions.incident_energy.mean() / GEV:.5g} GeV" for s in samples),
    )
    yield row("Incident angle", *(_span(s.conditions.incident_theta / DEGREE, "°") for s in samples))
    grid = compared.reference.grid
    yield row("Cells", *[" x ".join(map(str, grid.shape)) + f" ({', '.join(grid.axes)})"] * 2)
    yield row("Read-out threshold", *[f"{grid.threshold_MeV:g} MeV, applied to both"] * 2)
    names = dict.fromkeys(name for source in sources for name in source.provenance)
    for name in names:
        yield row(name.replace("_", " ").capitalize(), *(s.provenance.get(name, "") for s in sources))


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"


def _span(values: Any, unit: str) -> str:
    low, high = f"{values.min():.4g}", f"{values.max():.4g}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _bins(compared: Comparison) -> Iterator[tuple[str, ...]]:
    """Rows of the sampling fraction by energy bin."""
    ours, theirs = compared.summaries
    for index in compared.energy_bins:
        (a, b), (da, db) = (
            [float(getattr(s, what)("sampling_fraction")[index, 0]) for s in (ours, theirs)]
            for what in ("mean", "error")
        )
        ratio = b / a if a > 0 else None
        relative = float(np.hypot(da / a, db / b)) if a > 0 and b > 0 else None
        yield (
            compared.reference.selections[index].title,
            f"{ours.count_S[index]:.0f}",
            f"{theirs.count_S[index]:.0f}",
            with_error(a, da),
            with_error(b, db),
            with_error(ratio, ratio * relative if ratio and relative else None),
        )


def _observables(compared: Comparison, metrics: Metrics) -> Iterator[dict[str, str]]:
    """Rows of the table of all observables with one value a shower."""
    ours, theirs = compared.summaries
    for name in compared.scalars:
        definition = OBSERVABLES[name]
        means = [
            with_error(_or_none(s.mean(name)[0, 0]), _or_none(s.error(name)[0, 0]))
            for s in (ours, theirs)
        ]
        key = f"separation.{name}"
        floor = metrics.get(f"{key}_floor")
        yield {
            "label": definition.label,
            "name": name,
            "meaning": definition.meaning,
            "reference": means[0],
            "candidate": means[1],
            "ratio": with_error(metrics[f"mean_ratio.{name}"], metrics.get(f"mean_ratio.{name}_err")),
            "separation": with_error(metrics[key], metrics.get(f"{key}_err")),
            "floor": "" if floor is None else f"{floor:.2g}",
        }


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
