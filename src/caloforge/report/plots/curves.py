"""Plots with one axis: distributions, mean profiles, and trends with energy or angle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import bin_edges
from caloforge.comparison.equal_conditions import reference_curve
from caloforge.comparison.samples import Sample, Summary
from caloforge.comparison.selections import MIN_SHOWERS, energy_edges
from caloforge.foundations.units import DEGREE, GEV
from caloforge.observables.definitions import OBSERVABLES, SPECTRUM_EDGES_MEV
from caloforge.observables.lengths import ring_edges
from caloforge.report.plots.histograms import Plot, axis_label, histogram

__all__ = ["Curves", "shown"]

Array = NDArray[Any]

MAX_LAYERS = 30
"""Of a grid with more layers so many, evenly spread, get plots of their own."""

BALANCED = (
    "angle_error", "energy_error", "score_", "moment3_", "offset_", "barycentre_x", "barycentre_y",
    "layer_x", "layer_y",
)  # fmt: skip
"""Names begin so of what scatters around zero, or is a probability: a ratio of means has no meaning."""


def shown(name: str) -> tuple[str, float]:
    """Return the label of an observable's axis, and the factor from its unit to the one that is drawn."""
    definition = OBSERVABLES[name]
    if definition.unit == "rad":
        return f"{definition.title} [degree]", 1 / DEGREE
    if name in ("total_deposit", "reconstructed_energy"):
        return f"{definition.title} [GeV]", 1 / GEV
    return definition.label, 1.0


@dataclass(frozen=True, eq=False)
class Curves:
    """Plots of samples that were read with the same selections, the reference first.

    What a sample does not have, or is undefined for all its showers, gives None instead of a plot.
    ``index`` counts the selections; 0 is all showers.
    """

    samples: Sequence[Sample]

    @cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """Means of each sample by selection."""
        return tuple(sample.summary() for sample in self.samples)

    @cached_property
    def masks(self) -> tuple[Array, ...]:
        """Which showers of each sample are in which selection, (S, N)."""
        return tuple(
            np.array([selection.mask(sample.conditions) for selection in sample.selections])
            for sample in self.samples
        )

    def _values(self, name: str) -> list[Array] | None:
        """Return the values of a scalar observable in each sample, as they are drawn."""
        if not all(name in sample.values for sample in self.samples):
            return None
        factor = shown(name)[1]
        return [sample.values[name].astype(np.float64) * factor for sample in self.samples]

    def distribution(self, name: str, index: int = 0, *, log: bool = False) -> Plot | None:
        """Histogram a scalar observable over a selection."""
        values = self._values(name)
        if values is None:
            return None
        selection = self.samples[0].selections[index]
        return _distribution(
            [v[mask[index]] for v, mask in zip(values, self.masks, strict=True)],
            name,
            f"{name}_{selection.name}{'_log' if log else ''}",
            title=f"{OBSERVABLES[name].title}, {selection.title}",
            where=selection.title,
            log_y=log,
        )

    def deposit_error(self) -> Plot | None:
        """Histogram the total deposit over the reference's mean at the same energy, minus one."""
        return _distribution(
            [relative - 1 for relative in self._relative_deposits],
            "total_deposit",
            "total_deposit_relative_error_all",
            title="Deviation of the deposit from the reference's mean",
            label="Total deposit / mean of the reference at this energy - 1",
        )

    @cached_property
    def _relative_deposits(self) -> list[Array]:
        """Sampling fraction over the reference's curve at equal conditions."""
        curves = reference_curve(self.samples, "sampling_fraction")
        return [
            sample.values["sampling_fraction"] / curve
            for sample, curve in zip(self.samples, curves, strict=True)
        ]

    def profile(self, axis: str, index: int = 0, *, log: bool = False) -> Plot:
        """Draw the mean deposit in the cells along an axis."""
        edges = np.arange(self.samples[0].grid.shape[self.samples[0].grid.axes.index(axis)] + 1) - 0.5
        label = axis_label(self.samples[0].grid, axis)
        return self._means(
            f"profile_{axis}", index, edges, label, "Mean deposit [MeV]", log=log, whole=True
        )

    def radial_profile(self, index: int = 0, *, log: bool = False) -> Plot | None:
        """Draw the mean deposit in rings around the shower's axis."""
        if "radial_profile" not in self.summaries[0].columns:
            return None
        edges = ring_edges(self.samples[0].grid)
        label = "Distance from the axis [mm]"
        return self._means(
            "radial_profile", index, edges, label, "Mean deposit in a ring [MeV]", log=log
        )

    def layer_means(self, name: str, index: int = 0) -> Plot | None:
        """Draw the mean of an observable of layers against the layer."""
        grid = self.samples[0].grid
        if name not in self.summaries[0].columns:
            return None
        edges = np.arange(grid.n_layers + 1) - 0.5
        label = axis_label(grid, grid.axes[2])
        return self._means(
            name, index, edges, label, f"Mean {_lower(OBSERVABLES[name].label)}", whole=True
        )

    def spectrum(self, index: int = 0) -> Plot | None:
        """Draw the mean number of cells in bins of their energy."""
        means = [summary.mean("cell_energy")[index] for summary in self.summaries]
        filled = np.flatnonzero(np.any([mean > 0 for mean in means], axis=0))
        if len(filled) == 0:
            return None
        used = slice(filled[0], filled[-1] + 1)
        edges = SPECTRUM_EDGES_MEV[used.start : used.stop + 1]
        return self._means(
            "cell_energy", index, edges, "Deposit in a cell [MeV]", "Cells per shower and bin", used=used,
            log_x=True, log=True,
        )  # fmt: skip

    def _means(
        self,
        name: str,
        index: int,
        edges: Array,
        label: str,
        y_label: str,
        *,
        used: slice = slice(None),
        log: bool = False,
        log_x: bool = False,
        whole: bool = False,
    ) -> Plot:
        """Draw an observable's means with their errors."""
        selection = self.samples[0].selections[index]
        histograms = [
            histogram(edges, label, s.mean(name)[index][used], s.error(name)[index][used] ** 2)
            for s in self.summaries
        ]
        suffix = "" if log_x else "_log" if log else "_linear"
        return Plot(
            f"{name}_{selection.name}{suffix}",
            f"{OBSERVABLES[name].title}, {selection.title}",
            "curves",
            tuple(histograms),
            scale=(1.0,) * len(histograms),
            showers=tuple(int(s.count_S[index]) for s in self.summaries),
            observable=name,
            where=selection.title,
            y_label=y_label,
            log_x=log_x,
            log_y=log,
            whole_x=whole,
            difference=name.startswith(BALANCED),
        )

    def sparsity(self) -> Plot:
        """Draw the fraction of cells above thresholds of 10^-13 to 10^0 GeV, as 3DGAN does.

        A bin holds the fraction above its lower edge; errors come from the groups of showers.
        """
        edges = np.logspace(-13, 0, 131)
        first = int(np.flatnonzero(np.isclose(SPECTRUM_EDGES_MEV, 1e-6))[0])
        histograms = []
        for sample in self.samples:
            columns = sample.columns["cell_energy"]
            cells_GE = sample.first_SGM[0, :, columns][:, first:] / sample.showers_SG[0][:, None]
            above_GE = cells_GE[:, ::-1].cumsum(axis=1)[:, ::-1] / sample.grid.n_cells
            # Below the spectrum's first bin nothing is lost: its cells count in that bin.
            below_GE = np.repeat(above_GE[:, :1], 40, axis=1)
            curve_GB = np.concatenate([below_GE, above_GE], axis=1)[:, : len(edges) - 1]
            variance = curve_GB.var(axis=0, ddof=1) / len(curve_GB)
            histograms.append(histogram(edges, "Threshold [GeV]", curve_GB.mean(axis=0), variance))
        return Plot(
            "sparsity",
            "Fraction of cells above a threshold",
            "curves",
            tuple(histograms),
            scale=(1.0,) * len(histograms),
            showers=tuple(map(len, self.samples)),
            observable="cell_energy",
            y_label="Fraction of cells above the threshold",
            log_x=True,
            log_y=True,
        )

    @property
    def layers(self) -> list[int]:
        """Layers with plots of their own."""
        n = self.samples[0].grid.n_layers
        return sorted({round(i) for i in np.linspace(0, n - 1, min(n, MAX_LAYERS))})

    def layer(self, name: str, layer: int) -> Plot | None:
        """Histogram an observable of layers in one layer, over the showers that are kept whole."""
        if not all(name in sample.vectors for sample in self.samples):
            return None
        n = self.samples[0].grid.n_layers
        few = f" (of {n}, {len(self.layers)} are drawn)" if n > MAX_LAYERS else ""
        definition = OBSERVABLES[name]
        title = "Deposit in the layer" if name.startswith("profile") else definition.title
        plot = _distribution(
            [sample.vectors[name][:, layer].astype(np.float64) for sample in self.samples],
            name,
            f"layer{layer:02d}_{'deposit' if name.startswith('profile') else name.removeprefix('layer_')}",
            title=f"{title}: layer {layer}{few}",
            label=title if definition.unit == "1" else f"{title} [{definition.unit}]",
            log_y=name.startswith("profile"),
        )
        return plot and replace(plot, folded=True)

    def trend(
        self,
        name: str,
        *,
        against: Literal["energy", "angle"] = "energy",
        of: Literal["mean", "spread", "relative_spread"] = "mean",
    ) -> Plot | None:
        """Draw the mean or the spread of a scalar observable against the incident energy or angle.

        Bins with fewer than :data:`MIN_SHOWERS` showers stay empty.
        """
        values = self._values(name)
        return None if values is None else self._trend(values, name, against, of)

    def deposit_trend(self) -> Plot | None:
        """Draw the mean deposit over the reference's mean at the same energy, minus one."""
        values = [relative - 1 for relative in self._relative_deposits]
        plot = self._trend(values, "total_deposit", "energy", "mean")
        if plot is None:
            return None
        return replace(
            plot,
            name="total_deposit_relative_error_against_energy",
            title="Relative error of the mean deposit against energy",
            y_label="Deposit / reference's mean - 1",
            difference=True,
        )

    def _trend(self, values: Sequence[Array], name: str, against: str, of: str) -> Plot | None:
        if against == "energy":
            edges = energy_edges(*(s.conditions for s in self.samples), max_bins=20) / GEV
            label = "Incident energy [GeV]"
            conditions = [s.conditions.incident_energy / GEV for s in self.samples]
        else:
            label = "Incident angle [degree]"
            conditions = [s.conditions.incident_theta / DEGREE for s in self.samples]
            low, high = max(c.min() for c in conditions), min(c.max() for c in conditions)
            n_bins = int(np.clip(min(map(len, self.samples)) // (2 * MIN_SHOWERS), 1, 20))
            edges = np.linspace(low, high * (1 + 1e-6), n_bins + 1)
        if len(edges) < 2 or not edges[0] < edges[-1]:
            return None
        histograms = []
        for condition, value_N in zip(conditions, values, strict=True):
            value, error = _binned(condition, value_N, edges, of)
            histograms.append(histogram(edges, label, value, error**2))
        if not np.isfinite(sum(h.values() for h in histograms)).any():
            return None
        what = {"mean": "Mean", "spread": "Spread of the", "relative_spread": "Relative spread of the"}[
            of
        ]
        title = f"{OBSERVABLES[name].title} against {against}"
        axis = shown(name)[0]
        return Plot(
            f"{name}_{of}_against_{against}",
            title if of == "mean" else f"{what} {_lower(title)}",
            "curves",
            tuple(histograms),
            scale=(1.0,) * len(histograms),
            showers=tuple(map(len, self.samples)),
            observable=name,
            y_label="Standard deviation / mean" if of == "relative_spread" else f"{what} {_lower(axis)}",
            log_x=edges[-1] > 5 * edges[0] and edges[1] / edges[0] < 1.2 * edges[-1] / edges[-2],
            difference=of == "mean" and name.startswith(BALANCED),
        )


def _distribution(
    found: Sequence[Array],
    observable: str,
    name: str,
    *,
    title: str,
    label: str = "",
    where: str | None = None,
    log_y: bool = False,
) -> Plot | None:
    """Histogram the defined values of each sample in common bins; None if a sample has none."""
    found = [values[np.isfinite(values)] for values in found]
    if min(map(len, found)) == 0:
        return None
    definition = OBSERVABLES[observable]
    edges = bin_edges(*found, discrete=definition.discrete)
    histograms = []
    for values in found:
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
        variances = counts * (1 - counts / len(values))
        histograms.append(histogram(edges, label or shown(observable)[0], counts, variances))
    plot = Plot(
        name,
        title,
        "curves",
        tuple(histograms),
        scale=tuple(1 / len(values) for values in found),
        showers=tuple(map(len, found)),
        observable=observable,
        y_label="Fraction of showers",
        log_y=log_y,
        whole_x=definition.discrete,
    )
    return plot if where is None else replace(plot, where=where)


def _binned(condition: Array, values: Array, edges: Array, of: str) -> tuple[Array, Array]:
    """Return mean or spread of values in bins of a condition, with errors."""
    result = np.full((2, len(edges) - 1), np.nan)
    bin_N = np.digitize(condition, edges) - 1
    for index in range(len(edges) - 1):
        inside = values[(bin_N == index) & np.isfinite(values)]
        n = len(inside)
        if n < MIN_SHOWERS:
            continue
        mean, spread = inside.mean(), inside.std(ddof=1)
        if of == "mean":
            result[:, index] = mean, spread / np.sqrt(n)
        elif spread > 0 and (of == "spread" or mean > 0):
            # Error of a standard deviation from the fourth moment, since tails are not normal.
            fourth = ((inside - mean) ** 4).mean()
            error = np.sqrt(max(fourth - spread**4, 0) / n) / (2 * spread)
            result[:, index] = np.array([spread, error]) / (mean if of == "relative_spread" else 1)
    return result[0], result[1]


def _lower(title: str) -> str:
    """Begin a title with a small letter, for the middle of a sentence."""
    return title[:1].lower() + title[1:]
