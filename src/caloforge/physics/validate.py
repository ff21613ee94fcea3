"""Compare two shower files: numbers, plots, and a report that holds both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from caloforge.detector import Grid
from caloforge.errors import CaloforgeError, UsageError
from caloforge.io.durable import atomic_folder, write_json, write_text
from caloforge.io.shower_file import ShowerFile
from caloforge.physics.accumulate import N_GROUPS, accumulate
from caloforge.physics.comparison import Comparison, Metrics, paired
from caloforge.physics.selections import MIN_SHOWERS, Selection, choose_selections
from caloforge.progress import Progress, silent

__all__ = ["DEFAULT_THRESHOLD_MEV", "validate"]

DEFAULT_THRESHOLD_MEV = 0.001
"""Read-out threshold where neither file states one: the published 1e-6 GeV."""

OWN_FILES = {"report.html", "metrics.json", "histograms.root", "report.md", "plots"}
MAX_LABEL = 40


def validate(
    reference: str | Path,
    candidate: str | Path,
    output: str | Path,
    *,
    labels: Sequence[str] | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> Metrics:
    """Compare a candidate's showers with a reference's and write a report folder.

    ``output`` becomes a folder with ``report.html`` (self-contained), ``metrics.json`` and
    ``plots/*.png``; an earlier report there is replaced, and until all is done nothing is. Both files
    are read with one read-out threshold, the larger of the two detectors'. ``labels`` name the two in
    plots and tables; by default the files' names do. ``workers`` processes draw the plots (a script
    that asks for more than one needs the usual ``if __name__ == "__main__"``). ``progress`` counts
    per cent. Gives the numbers of ``metrics.json`` (see :mod:`caloforge.physics.comparison`).

    Raises UsageError for a folder with other content, wrong labels, or files on different grids;
    CaloforgeError for a damaged file or one with fewer than two showers; MissingExtraError.
    """
    # The libraries that draw are optional, and checked before minutes are spent on reading.
    from caloforge.physics.catalogue import catalogue, displays
    from caloforge.physics.plots import render_all
    from caloforge.physics.report.builder import Source, build_page

    folder = Path(output).resolve()
    _check_folder(folder)
    with ShowerFile(reference) as ours, ShowerFile(candidate) as theirs:
        names = _labels(labels, ours, theirs)
        grid = _common_grid(ours, theirs)
        selections, thin = choose_selections(ours.conditions, theirs.conditions)
        n_groups = min(N_GROUPS, len(ours), len(theirs))
        share = 50 * len(ours) // (len(ours) + len(theirs))
        samples = [
            accumulate(
                file, selections, grid=grid, n_groups=n_groups, progress=_Part(progress, start, stop)
            )
            for file, start, stop in ((ours, 0, share), (theirs, share, 50))
        ]
        compared = Comparison(*samples)
        plots = [*catalogue(samples), *displays([ours, theirs], grid.threshold_MeV)]
        sources = tuple(
            Source(label, file.path.name, file.provenance)
            for label, file in zip(names, (ours, theirs), strict=True)
        )
        notes = list(_notes(compared, ours.grid, theirs.grid, thin))
    metrics = {"n_plots": len(plots), **compared.metrics()}
    with atomic_folder(folder) as temporary:
        (temporary / "plots").mkdir()
        drawn = []
        drawing = _Part(progress, 50, 100)
        for plot, image in render_all(plots, names, workers=workers, progress=drawing):
            (temporary / "plots" / f"{plot.name}.png").write_bytes(image)
            drawn.append((plot, image))
        made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        page = build_page(compared, metrics, (sources[0], sources[1]), notes, drawn, made=made)
        write_text(temporary / "report.html", page)
        write_json(temporary / "metrics.json", metrics)
    return metrics


@dataclass(frozen=True)
class _Part:
    """A part of the work, told to the caller as per cent of the whole."""

    progress: Progress
    start: int
    stop: int

    def __call__(self, done: int, total: int, **figures: float) -> None:
        self.progress(self.start + (self.stop - self.start) * done // max(1, total), 100, **figures)


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


def _labels(labels: Sequence[str] | None, ours: ShowerFile, theirs: ShowerFile) -> tuple[str, str]:
    if labels is None:
        first, second = (file.path.stem[:MAX_LABEL] or "showers" for file in (ours, theirs))
        return (first, second) if first != second else ("reference", "candidate")
    texts = [" ".join(label.split()) for label in labels]
    if len(texts) != 2 or not all(0 < len(text) <= MAX_LABEL for text in texts) or texts[0] == texts[1]:
        raise UsageError(
            f"labels: expected two different texts of 1 to {MAX_LABEL} characters, got {list(labels)!r}"
        )
    return texts[0], texts[1]


def _common_grid(ours: ShowerFile, theirs: ShowerFile) -> Grid:
    """Give the grid that both files are read with; sizes may be known from either."""
    a, b = ours.grid, theirs.grid
    if not a.same_cells(b):
        first, second = (
            f"{file.path} has {list(file.grid.axes)} {list(file.grid.shape)}" for file in (ours, theirs)
        )
        raise UsageError(f"expected showers on the same grid, but {first} and {second}")
    for file in (ours, theirs):
        if len(file) < 2:
            raise CaloforgeError(
                f"{file.path}: field showers: expected at least 2 showers, found {len(file)}"
            )
    return replace(
        a,
        cell_size=a.cell_size or b.cell_size,
        layer_pitch_mm=a.layer_pitch_mm or b.layer_pitch_mm,
        threshold_MeV=max(a.threshold_MeV, b.threshold_MeV) or DEFAULT_THRESHOLD_MEV,
    )


def _notes(
    compared: Comparison, ours: Grid, theirs: Grid, thin: Sequence[tuple[Selection, tuple[int, ...]]]
) -> Iterator[str]:
    """Say what a reader of the numbers must know."""
    if paired(compared.reference, compared.candidate):
        yield (
            "Both files hold the same incident energies and angles in the same order. Errors of the "
            "numbers take that into account; the error bars in the plots and the column “same source” do "
            "not, and are cautious."
        )
    else:
        means = [s.conditions.incident_energy.mean() for s in (compared.reference, compared.candidate)]
        if abs(means[1] / means[0] - 1) > 0.01:
            yield (
                f"The candidate's mean incident energy is {100 * (means[1] / means[0] - 1):+.1f} % off the "
                "reference's. Deposits, hits and profiles over all energies differ for that reason alone; "
                "compare in bins of energy, or generate the candidate with the reference's energies "
                "(caloforge generate --like)."
            )
    if thin:
        listed = ", ".join(f"{selection.title} ({a} and {b})" for selection, (a, b) in thin)
        yield f"Too thin to draw or to count, with fewer than {MIN_SHOWERS} showers in a file: {listed}."
    for sample, name in ((compared.reference, "reference"), (compared.candidate, "candidate")):
        if sample.n_empty:
            yield (
                f"{sample.n_empty} of {len(sample)} {name} showers have no deposit above the threshold: they "
                "count in deposits, hits and profiles, and are left out where an observable is undefined."
            )
    for what in ("name", "cell_size", "layer_pitch_mm", "threshold_MeV"):
        a, b = getattr(ours, what), getattr(theirs, what)
        if a != b:
            yield f"The files' detectors differ in {what}: {a} and {b}."
