"""Compare candidates with a reference: numbers, a verdict, plots, and a report that holds them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.calochallenge.inputs import read_inputs
from caloforge.comparison.calochallenge.protocol import NAME, judge_as_published
from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.metrics import measure, reference_floors
from caloforge.comparison.requirements import judge, load_requirements
from caloforge.comparison.samples import N_GROUPS, Sample, accumulate, keep_hits
from caloforge.comparison.selections import choose_selections
from caloforge.detector import Grid
from caloforge.files.held_showers import ShowerSource, open_showers
from caloforge.foundations.durable import atomic_folder, write_json, write_text
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import Part, Progress, silent
from caloforge.foundations.texts import printable
from caloforge.report.caveats import caveats_on
from caloforge.report.page.content import Report, Source
from caloforge.showers import Showers

__all__ = ["DEFAULT_THRESHOLD_MEV", "MAX_CANDIDATES", "command_of", "validate"]

DEFAULT_THRESHOLD_MEV = 0.001
"""Read-out threshold where neither file states one: the published 1e-6 GeV."""

MAX_CANDIDATES = 5
"""More curves in one plot cannot be told apart."""

COMMAND = "command.txt"
OWN_FILES = {"report.html", "report.md", "metrics.json", "histograms.root", "plots", COMMAND}
MAX_LABEL = 40


def validate(
    reference: str | Path | Showers,
    candidates: str | Path | Showers | Sequence[str | Path | Showers],
    output: str | Path,
    *,
    labels: Sequence[str] | None = None,
    requirements: str | Path | None = None,
    training: str | Path | Showers | Sequence[str | Path | Showers] = (),
    only: Literal["numbers"] | None = None,
    protocol: str | None = None,
    workers: int = 1,
    command: str = "",
    progress: Progress = silent,
) -> Report:
    """Compare the showers of candidates with a reference's and write a report folder; each is a file, or showers in memory.

    ``output`` becomes a folder with ``report.html`` (self-contained), ``report.md`` (a summary),
    ``metrics.json``, ``histograms.root`` and ``plots/*.png``; an earlier report there is replaced, and
    until all is done nothing is. ``metrics.json`` holds the numbers of one candidate, or of several by
    their labels (:mod:`caloforge.comparison.metrics` lists them). All are read with one read-out
    threshold, the largest of their detectors'. ``labels`` name reference and candidates; by default
    the files' names do, or "reference" and "candidate". ``requirements`` is a YAML file (:mod:`caloforge.comparison.requirements`).
    ``training`` are the showers that a candidate was trained on, which it may copy. With ``only`` numbers
    nothing is drawn: no plots, no ``histograms.root``. ``protocol`` "calochallenge" adds its numbers, which
    take their time (:mod:`caloforge.comparison.calochallenge.protocol`). ``workers`` processes draw
    (a script that asks for more than one needs the usual ``if __name__ == "__main__"``). The
    ``command`` is kept in the folder. ``progress`` counts per cent. Returns what the report was made from.

    Raises UsageError for a folder with other content, wrong labels or requirements, or files on
    different grids; CaloforgeError for a damaged file, impossible deposits or fewer than two showers;
    MissingExtraError.
    """
    # The libraries that draw are optional, and checked before minutes are spent on reading.
    from caloforge.report.page.builder import build_page
    from caloforge.report.page.summary import build_summary
    from caloforge.report.plots.catalogue import catalogue, displays
    from caloforge.report.plots.classifiers import auc_curves
    from caloforge.report.plots.draw import render_all
    from caloforge.report.plots.root_file import write_root

    folder = Path(output).resolve()
    _check_folder(folder)
    required = load_requirements(None if requirements is None else Path(requirements))
    judged_ones, learned_from = _listed(candidates), _listed(training)
    if not 0 < len(judged_ones) <= MAX_CANDIDATES:
        raise UsageError(f"candidates: expected 1 to {MAX_CANDIDATES} files, got {len(judged_ones)}")
    if protocol not in (None, NAME):
        raise UsageError(f"protocol: expected {NAME}, got {protocol!r}")
    shares = (10, 90, 0) if only else (10, 60, 30)
    reading, measuring, drawing = Part(progress).shares(shares, ("reading", "comparing", "drawing"))
    with ExitStack() as stack:
        files = [
            open_showers(stack, showers, name)
            for showers, name in zip((reference, *judged_ones), _roles(len(judged_ones)), strict=True)
        ]
        library = [open_showers(stack, showers, "training") for showers in learned_from]
        names = _labels(labels, files)
        grid = _common_grid([*files, *library])
        selections, thin = choose_selections(*(file.conditions for file in files))
        n_groups = min(N_GROUPS, *map(len, files))
        samples = [
            accumulate(file, selections, grid=grid, n_groups=n_groups, progress=part)
            for file, part in zip(files, reading.shares(map(len, files)), strict=True)
        ]
        copied = [keep_hits(file, grid) for file in library]
        inputs = [read_inputs(file, grid) for file in files] if protocol else []
        shown = [] if only else list(displays(files, grid.threshold_MeV))
        sources = tuple(
            Source(label, printable(file.path.name), file.provenance)
            for label, file in zip(names, files, strict=True)
        )
        caveats = tuple(caveats_on(samples, names, [file.grid for file in files], thin))
    comparisons = tuple(Comparison(samples[0], candidate) for candidate in samples[1:])
    weights = (1, *(2 for _ in comparisons), 20 * bool(protocol))
    floors_part, *parts, published_part = measuring.shares(weights, ["reference with itself"])
    floors = reference_floors(samples[0], progress=floors_part)
    measured = [
        measure(compared, training=copied, floors=floors, progress=part)
        for compared, part in zip(comparisons, parts, strict=True)
    ]
    judged = [
        (_with(samples[0], each.learned_reference), _with(sample, each.learned_candidate))
        for sample, each in zip(samples[1:], measured, strict=True)
    ]
    everybody = [judged[0][0], *(candidate for _, candidate in judged)]
    published: list[Metrics] = [{}] * len(measured)
    if inputs:
        published = judge_as_published(inputs[0], inputs[1:], progress=published_part)
    metrics = [{**each.metrics, **more} for each, more in zip(measured, published, strict=True)]
    plots = [] if only else [*catalogue(everybody, judged), *auc_curves(metrics), *shown]
    verdicts = tuple(judge(numbers, required) for numbers in metrics)
    for numbers, verdict in zip(metrics, verdicts, strict=True):
        numbers["n_plots"] = len(plots)
        numbers["requirements"] = [judgement.to_json() for judgement in verdict]
    report = Report(
        sources=sources,
        comparisons=comparisons,
        metrics=tuple(metrics),
        verdicts=verdicts,
        caveats=caveats,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    drawing(0, len(plots))
    with atomic_folder(folder) as temporary:
        drawn = []
        if plots:
            (temporary / "plots").mkdir()
        for plot, image in render_all(plots, names, workers=workers, progress=drawing):
            (temporary / "plots" / f"{plot.name}.png").write_bytes(image)
            drawn.append((plot, image))
        if plots:
            write_root(temporary / "histograms.root", plots, names)
        write_text(temporary / "report.html", build_page(report, drawn))
        write_text(temporary / "report.md", build_summary(report))
        write_json(temporary / "metrics.json", report.numbers)
        if command:
            write_text(temporary / COMMAND, command + "\n")
    return report


def command_of(folder: Path) -> str | None:
    """Read which command made the report in a folder; None where there is nothing.

    Raises UsageError where a report cannot be.
    """
    _check_folder(folder.resolve())
    if not folder.exists() or not any(folder.iterdir()):
        return None
    path = folder / COMMAND
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""


def _check_folder(folder: Path) -> None:
    """Refuse early what cannot become the report's folder."""
    if not folder.parent.is_dir():
        raise UsageError(f"{folder}: the folder {folder.parent} does not exist")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: expected a folder, this is a file")
    if not folder.exists():
        return
    content = {entry.name for entry in folder.iterdir()}
    images = list((folder / "plots").glob("*")) if (folder / "plots").is_dir() else []
    ours = content <= OWN_FILES and "report.html" in content and all(i.suffix == ".png" for i in images)
    if content and not ours:
        raise UsageError(
            f"{folder}: expected a new or empty folder or an earlier report, it holds other files"
        )


def _listed(some: object) -> list[Any]:
    """Return several of something as a list, and one of it as a list of one; showers are one."""
    if isinstance(some, str | Path | Showers) or not isinstance(some, Iterable):
        return [some]
    return list(some)


def _roles(n_candidates: int) -> list[str]:
    """Name the reference and its candidates where nothing else does."""
    several = n_candidates > 1
    return [
        "reference",
        *(f"candidate {i + 1}" if several else "candidate" for i in range(n_candidates)),
    ]


def _labels(labels: Sequence[str] | None, files: Sequence[ShowerSource]) -> tuple[str, ...]:
    if labels is None:
        stems = [printable(file.path.stem)[:MAX_LABEL] or "showers" for file in files]
        return tuple(stems if len(set(stems)) == len(stems) else _roles(len(files) - 1))
    texts = [printable(" ".join(label.split())) for label in labels]
    right = len(texts) == len(files) == len(set(texts))
    if not right or not all(0 < len(text) <= MAX_LABEL for text in texts):
        raise UsageError(
            f"labels: expected {len(files)} different texts of 1 to {MAX_LABEL} characters, one for each "
            f"file, got {list(labels)!r}"
        )
    return tuple(texts)


def _common_grid(files: Sequence[ShowerSource]) -> Grid:
    """Return the grid that all files are read with; sizes may be known from any."""
    first = files[0]
    for file in files:
        if not file.grid.same_cells(first.grid):
            ours, theirs = (
                f"{f.path} has {list(f.grid.axes)} {list(f.grid.shape)}" for f in (first, file)
            )
            raise UsageError(f"expected showers on the same grid, but {ours} and {theirs}")
        if len(file) < 2:
            raise CaloforgeError(
                f"{file.path}: field showers: expected at least 2 showers, found {len(file)}"
            )
    grids = [file.grid for file in files]
    deep = next((grid for grid in grids if grid.depths_mm), first.grid)
    return replace(
        first.grid,
        cell_size=next((grid.cell_size for grid in grids if grid.cell_size), None),
        layer_pitch_mm=deep.layer_pitch_mm,
        layer_centres_mm=deep.layer_centres_mm,
        threshold_MeV=max(grid.threshold_MeV for grid in grids) or DEFAULT_THRESHOLD_MEV,
    )


def _with(sample: Sample, learned: Mapping[str, NDArray[np.float64]]) -> Sample:
    """Add what was learned of the kept showers to a sample's values; NaN for the others."""
    values = dict(sample.values)
    for name, found_K in learned.items():
        values[name] = np.full(len(sample), np.nan, np.float32)
        values[name][sample.kept] = found_K
    return replace(sample, values=values)
