"""Histograms of a comparison: what the plots draw, each with its axes, values and errors.

Every histogram is a ``hist.Hist`` with variances, so it can go to ROOT as it is. This is the only
module that imports hist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.errors import MissingExtraError
from caloforge.physics.accumulate import Sample
from caloforge.physics.comparison import bin_edges
from caloforge.physics.observables import OBSERVABLES, SPECTRUM_EDGES_MEV
from caloforge.physics.selections import INCLUSIVE, MIN_SHOWERS, energy_edges
from caloforge.showers import Showers
from caloforge.units import DEGREE, GEV

try:
    import hist
except ImportError:
    raise MissingExtraError("validate", "report") from None

__all__ = ["Plot", "angle_maps", "axis_label", "display", "distribution", "profile", "spectrum", "trend"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Plot:
    """One plot: ``kind`` says how :mod:`caloforge.physics.plots` draws its histograms.

    "curves": reference and candidates with their ratios; "maps": the same in two dimensions, side by
    side; "display": a shower of each, in three dimensions. ``histograms``, ``scale`` (multiplies the
    histogram) and ``showers`` (their number, said in the legend) hold the reference first, then each
    candidate. ``observable`` is the name of what is shown, or empty; ``where`` the title of the selection.
    """

    name: str
    topic: str
    title: str
    kind: Literal["curves", "maps", "display"]
    histograms: tuple[Any, ...]
    scale: tuple[float, ...]
    showers: tuple[int, ...]
    observable: str = ""
    where: str = INCLUSIVE.title
    y_label: str = ""
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False


def axis_label(grid: Grid, axis: str) -> str:
    """Name a grid's axis with its unit, the cell: ``x [cell of 5.1 mm]``."""
    if axis == grid.axes[2]:
        size, what, unit = grid.layer_pitch_mm, "layer", "mm"
        if axis == what:
            return axis if size is None else f"{axis} [of {size:.4g} {unit}]"
    else:
        size = grid.cell_size[grid.axes.index(axis)] if grid.cell_size else None
        what, unit = "cell", "rad" if axis == "phi" else "mm"
    return f"{axis} [{what}]" if size is None else f"{axis} [{what} of {size:.4g} {unit}]"


def _histogram(edges: Array, label: str, values: Array, variances: Array) -> Any:
    filled = hist.Hist(hist.axis.Variable(edges, label=label), storage=hist.storage.Weight())
    filled.view()["value"], filled.view()["variance"] = values, variances
    return filled


def _map(edges: Sequence[Array], labels: Sequence[str], values: Array) -> Any:
    axes = [hist.axis.Variable(e, label=text) for e, text in zip(edges, labels, strict=True)]
    filled = hist.Hist(*axes, storage=hist.storage.Weight())
    filled.view()["value"] = filled.view()["variance"] = values
    return filled


def _count(samples: Sequence[Sample], index: int = 0) -> tuple[int, ...]:
    """Count the showers of each sample in a selection."""
    return tuple(int(sample.showers_SG[index].sum()) for sample in samples)


def _have(samples: Sequence[Sample], name: str) -> bool:
    """Tell whether every sample has an observable of one value."""
    return all(name in sample.values for sample in samples)


def distribution(
    samples: Sequence[Sample], name: str, topic: str, index: int = 0, *, log: bool = False
) -> Plot | None:
    """Histogram a scalar observable over a selection (its index); None where it is undefined."""
    if not _have(samples, name):
        return None
    selection = samples[0].selections[index]
    found = []
    for sample in samples:
        values = sample.values[name][selection.mask(sample.conditions)]
        found.append(values[np.isfinite(values)].astype(np.float64))
    if min(map(len, found)) == 0:
        return None
    edges = bin_edges(*found, discrete=OBSERVABLES[name].discrete)
    histograms = []
    for chosen in found:
        counts = np.histogram(np.clip(chosen, edges[0], edges[-1]), edges)[0]
        variances = counts * (1 - counts / len(chosen))
        histograms.append(_histogram(edges, OBSERVABLES[name].label, counts, variances))
    return Plot(
        f"{name}_{selection.name}{'_log' if log else ''}",
        topic,
        f"{OBSERVABLES[name].title}, {selection.title}",
        "curves",
        tuple(histograms),
        scale=tuple(1 / len(values) for values in found),
        showers=tuple(map(len, found)),
        observable=name,
        where=selection.title,
        y_label="Fraction of showers",
        log_y=log,
        whole_x=OBSERVABLES[name].discrete,
    )


def profile(samples: Sequence[Sample], axis: str, index: int = 0, *, log: bool = False) -> Plot:
    """Draw the mean deposit in the cells along an axis, over a selection."""
    selection = samples[0].selections[index]
    name = f"profile_{axis}"
    summaries = [sample.summary() for sample in samples]
    edges = np.arange(len(summaries[0].mean(name)[index]) + 1) - 0.5
    label = axis_label(samples[0].grid, axis)
    return Plot(
        f"{name}_{selection.name}_{'log' if log else 'linear'}",
        "Profiles",
        f"{OBSERVABLES[name].title}, {selection.title}",
        "curves",
        tuple(
            _histogram(edges, label, s.mean(name)[index], s.error(name)[index] ** 2) for s in summaries
        ),
        scale=(1.0,) * len(samples),
        showers=_count(samples, index),
        observable=name,
        where=selection.title,
        y_label="Mean deposit [MeV]",
        log_y=log,
        whole_x=True,
    )


def spectrum(samples: Sequence[Sample], index: int = 0) -> Plot | None:
    """Draw the mean number of cells in bins of their energy; None without any cell."""
    selection, name = samples[0].selections[index], "cell_energy"
    summaries = [sample.summary() for sample in samples]
    filled = np.flatnonzero(np.any([s.mean(name)[index] > 0 for s in summaries], axis=0))
    if len(filled) == 0:
        return None
    used = slice(filled[0], filled[-1] + 1)
    edges = SPECTRUM_EDGES_MEV[used.start : used.stop + 1]
    histograms = [
        _histogram(
            edges, "Deposit in a cell [MeV]", s.mean(name)[index][used], s.error(name)[index][used] ** 2
        )
        for s in summaries
    ]
    return Plot(
        f"{name}_{selection.name}",
        "Cells and hits",
        f"Cell energies, {selection.title}",
        "curves",
        tuple(histograms),
        scale=(1.0,) * len(samples),
        showers=_count(samples, index),
        observable=name,
        where=selection.title,
        y_label="Cells per shower and bin",
        log_x=True,
        log_y=True,
    )


def trend(
    samples: Sequence[Sample],
    name: str,
    topic: str,
    *,
    against: str = "energy",
    relative_spread: bool = False,
) -> Plot | None:
    """Draw the mean of a scalar observable against incident energy or angle, or its relative spread.

    Bins with too few showers stay empty. None where no bin is left or the observable is undefined.
    """
    if not _have(samples, name):
        return None
    if against == "energy":
        edges = energy_edges(*(sample.conditions for sample in samples), max_bins=20) / GEV
        label = "Incident energy [GeV]"
        conditions = [s.conditions.incident_energy / GEV for s in samples]
    else:
        label = "Incident angle [degree]"
        conditions = [s.conditions.incident_theta / DEGREE for s in samples]
        low, high = max(c.min() for c in conditions), min(c.max() for c in conditions)
        n_bins = int(np.clip(min(map(len, samples)) // (2 * MIN_SHOWERS), 1, 20))
        edges = np.linspace(low, high * (1 + 1e-6), n_bins + 1)
    if len(edges) < 2 or not edges[0] < edges[-1]:
        return None
    histograms = []
    for sample, condition in zip(samples, conditions, strict=True):
        value, error = _binned(condition, sample.values[name], edges, relative_spread)
        histograms.append(_histogram(edges, label, value, error**2))
    if not np.isfinite(sum(histogram.values() for histogram in histograms)).any():
        return None
    definition = OBSERVABLES[name]
    title = f"{definition.title} against {against}"
    y_label = "Mean" if definition.unit == "1" else f"Mean [{definition.unit}]"
    if relative_spread:
        title, y_label = f"Relative spread of the {title.lower()}", "Standard deviation / mean"
    return Plot(
        f"{name}_{'spread' if relative_spread else 'mean'}_against_{against}",
        topic,
        title,
        "curves",
        tuple(histograms),
        scale=(1.0,) * len(samples),
        showers=_count(samples),
        observable=name,
        y_label=y_label,
        log_x=len(edges) > 3 and edges[1] / edges[0] < 1.2 * edges[-1] / edges[-2],
    )


def _binned(condition: Array, values: Array, edges: Array, relative_spread: bool) -> tuple[Array, Array]:
    """Mean, or standard deviation over mean, of values in bins of a condition, with errors."""
    result = np.full((2, len(edges) - 1), np.nan)
    bin_N = np.digitize(condition, edges) - 1
    for index in range(len(edges) - 1):
        inside = values[(bin_N == index) & np.isfinite(values)].astype(np.float64)
        n = len(inside)
        if n < MIN_SHOWERS:
            continue
        mean, spread = inside.mean(), inside.std(ddof=1)
        if not relative_spread:
            result[:, index] = mean, spread / np.sqrt(n)
        elif mean > 0 and spread > 0:
            # Error of a standard deviation from the fourth moment, since tails are not normal.
            fourth = ((inside - mean) ** 4).mean()
            result[:, index] = (
                spread / mean,
                np.sqrt(max(fourth - spread**4, 0) / n) / (2 * spread) / mean,
            )
    return result[0], result[1]


def angle_maps(samples: Sequence[Sample], name: str) -> Plot | None:
    """Histogram a measured angle against the incident one; None where it is undefined."""
    if not _have(samples, name):
        return None
    incident = [s.conditions.incident_theta / DEGREE for s in samples]
    measured = [s.values[name] / DEGREE for s in samples]
    good = [np.isfinite(m) for m in measured]
    if not all(g.any() for g in good):
        return None
    n_bins = int(np.clip(np.sqrt(min(map(len, samples))), 10, 40))
    both = np.concatenate(incident)
    edges_incident = np.linspace(both.min() - 1e-3, both.max() + 1e-3, n_bins + 1)
    low, high = np.quantile(
        np.concatenate([m[g] for m, g in zip(measured, good, strict=True)]), (0.002, 0.998)
    )
    edges_measured = np.linspace(low - 0.1, high + 0.1, n_bins + 1)
    edges = (edges_incident, edges_measured)
    labels = ("Incident angle [degree]", f"{OBSERVABLES[name].title} [degree]")
    maps = tuple(
        _map(edges, labels, np.histogram2d(i[g], m[g], bins=edges)[0])
        for i, m, g in zip(incident, measured, good, strict=True)
    )
    return Plot(
        f"{name}_against_incident",
        "Angle",
        f"{OBSERVABLES[name].title} against the incident angle",
        "maps",
        maps,
        scale=tuple(1 / len(sample) for sample in samples),
        showers=_count(samples),
        observable=name,
        y_label="Fraction of showers",
    )


def display(name: str, showers: Sequence[Showers]) -> Plot:
    """Show one shower of each sample, cell by cell."""
    grid = showers[0].grid
    axes = [
        hist.axis.Regular(n, -0.5, n - 0.5, label=axis_label(grid, axis))
        for axis, n in zip(grid.axes, grid.shape, strict=True)
    ]
    images = [hist.Hist(*axes, storage=hist.storage.Double(), data=s.deposits[0]) for s in showers]
    energies = " and ".join(f"{s.incident_energy[0] / GEV:.4g}" for s in showers)
    angles = " and ".join(f"{s.incident_theta[0] / DEGREE:.3g}°" for s in showers)
    return Plot(
        name,
        "Event displays",
        f"One shower of each, {energies} GeV, {angles}",
        "display",
        tuple(images),
        scale=(1.0,) * len(showers),
        showers=(1,) * len(showers),
        where=f"{showers[0].incident_energy[0] / GEV:.4g} GeV",
        y_label="Deposit [MeV]",
    )
