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
from caloforge.physics.comparison import Comparison, bin_edges
from caloforge.physics.observables import OBSERVABLES, SPECTRUM_EDGES_MEV
from caloforge.physics.selections import MIN_SHOWERS, energy_edges
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

    "curves": reference and candidate with their ratio; "maps": the same in two dimensions, side by
    side; "display": three projections of a reference and three of a candidate shower. ``scale``
    multiplies reference and candidate; ``showers`` are their numbers, said in the legend.
    """

    name: str
    topic: str
    title: str
    kind: Literal["curves", "maps", "display"]
    histograms: tuple[Any, ...]
    y_label: str = ""
    scale: tuple[float, float] = (1.0, 1.0)
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False
    showers: tuple[int, int] = (1, 1)


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


def _showers(compared: Comparison, index: int = 0) -> tuple[int, int]:
    """Count the showers of both files in a selection."""
    reference, candidate = (int(summary.count_S[index]) for summary in compared.summaries)
    return reference, candidate


def distribution(
    compared: Comparison, name: str, topic: str, index: int = 0, *, log: bool = False
) -> Plot | None:
    """Histogram a scalar observable over a selection (its index); None where it is undefined."""
    if name not in compared.scalars:
        return None
    selection = compared.reference.selections[index]
    pair = []
    for sample in (compared.reference, compared.candidate):
        values = sample.values[name][selection.mask(sample.conditions)]
        pair.append(values[np.isfinite(values)].astype(np.float64))
    if min(map(len, pair)) == 0:
        return None
    edges = bin_edges(pair[0], pair[1], OBSERVABLES[name].discrete)
    histograms = []
    for found in pair:
        counts = np.histogram(np.clip(found, edges[0], edges[-1]), edges)[0]
        variances = counts * (1 - counts / len(found))
        histograms.append(_histogram(edges, OBSERVABLES[name].label, counts, variances))
    return Plot(
        f"{name}_{selection.name}{'_log' if log else ''}",
        topic,
        f"{OBSERVABLES[name].title}, {selection.title}",
        "curves",
        tuple(histograms),
        y_label="Fraction of showers",
        scale=(1 / len(pair[0]), 1 / len(pair[1])),
        log_y=log,
        whole_x=OBSERVABLES[name].discrete,
        showers=(len(pair[0]), len(pair[1])),
    )


def _means(compared: Comparison, name: str, index: int, edges: Array, label: str) -> tuple[Any, ...]:
    return tuple(
        _histogram(edges, label, summary.mean(name)[index], summary.error(name)[index] ** 2)
        for summary in compared.summaries
    )


def profile(compared: Comparison, axis: str, index: int = 0, *, log: bool = False) -> Plot:
    """Draw the mean deposit in the cells along an axis, over a selection."""
    selection = compared.reference.selections[index]
    name = f"profile_{axis}"
    n_cells = len(compared.summaries[0].mean(name)[index])
    edges = np.arange(n_cells + 1) - 0.5
    return Plot(
        f"{name}_{selection.name}_{'log' if log else 'linear'}",
        "Profiles",
        f"{OBSERVABLES[name].title}, {selection.title}",
        "curves",
        _means(compared, name, index, edges, axis_label(compared.reference.grid, axis)),
        y_label="Mean deposit [MeV]",
        log_y=log,
        whole_x=True,
        showers=_showers(compared, index),
    )


def spectrum(compared: Comparison, index: int = 0) -> Plot | None:
    """Draw the mean number of cells in bins of their energy; None without any cell."""
    selection = compared.reference.selections[index]
    means = [summary.mean("cell_energy")[index] for summary in compared.summaries]
    filled = np.flatnonzero(means[0] + means[1] > 0)
    if len(filled) == 0:
        return None
    used = slice(filled[0], filled[-1] + 1)
    edges = SPECTRUM_EDGES_MEV[used.start : used.stop + 1]
    histograms = tuple(
        _histogram(
            edges,
            "Deposit in a cell [MeV]",
            summary.mean("cell_energy")[index][used],
            summary.error("cell_energy")[index][used] ** 2,
        )
        for summary in compared.summaries
    )
    return Plot(
        f"cell_energy_{selection.name}",
        "Cells",
        f"Cell energies, {selection.title}",
        "curves",
        histograms,
        y_label="Cells per shower and bin",
        log_x=True,
        log_y=True,
        showers=_showers(compared, index),
    )


def trend(
    compared: Comparison,
    name: str,
    topic: str,
    *,
    against: str = "energy",
    relative_spread: bool = False,
) -> Plot | None:
    """Draw the mean of a scalar observable against incident energy or angle, or its relative spread.

    Bins with too few showers stay empty. None where no bin is left or the observable is undefined.
    """
    if name not in compared.scalars:
        return None
    samples = (compared.reference, compared.candidate)
    if against == "energy":
        edges = energy_edges(samples[0].conditions, samples[1].conditions, 20) / GEV
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
    if not np.isfinite(histograms[0].values() + histograms[1].values()).any():
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
        y_label=y_label,
        log_x=len(edges) > 3 and edges[1] / edges[0] < 1.2 * edges[-1] / edges[-2],
        showers=_showers(compared),
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


def angle_maps(compared: Comparison, name: str) -> Plot | None:
    """Histogram a measured angle against the incident one; None where it is undefined."""
    if name not in compared.scalars:
        return None
    samples = (compared.reference, compared.candidate)
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
        y_label="Fraction of showers",
        scale=(1 / len(samples[0]), 1 / len(samples[1])),
        showers=_showers(compared),
    )


def display(name: str, reference: Showers, candidate: Showers) -> Plot:
    """Project one shower of each onto three planes: depth with both axes across, and across."""
    grid = reference.grid
    edges = {axis: np.arange(n + 1) - 0.5 for axis, n in zip(grid.axes, grid.shape, strict=True)}
    first, second, depth = grid.axes
    maps = []
    for shower in (reference, candidate):
        for (horizontal, vertical), summed, swap in (
            ((depth, first), 1, True),
            ((depth, second), 0, True),
            ((first, second), 2, False),
        ):
            values = shower.deposits[0].sum(axis=summed)
            labels = (axis_label(grid, horizontal), axis_label(grid, vertical))
            maps.append(_map((edges[horizontal], edges[vertical]), labels, values.T if swap else values))
    energies = [float(s.incident_energy[0]) / GEV for s in (reference, candidate)]
    angles = [float(s.incident_theta[0]) / DEGREE for s in (reference, candidate)]
    return Plot(
        name,
        "Event displays",
        f"One shower of each, {energies[0]:.4g} and {energies[1]:.4g} GeV, "
        f"{angles[0]:.3g}° and {angles[1]:.3g}°",
        "display",
        tuple(maps),
        y_label="Deposit [MeV]",
    )
