"""Plots of several frames side by side: maps, correlation matrices, event displays.

Each function fills an empty figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.selections import MIN_SHOWERS
from caloforge.report.plots.histograms import Plot
from caloforge.report.plots.style import REFERENCE, THIN, fitted, heading, look

__all__ = ["displays", "maps", "matrices"]

PER_ROW = 3
SIZE = 3.3
"""Width of a frame with the space beside it, inches."""

PLANES = ((2, 0), (2, 1), (0, 1))
"""The axes, across and up, of a display's projections."""


def maps(figure: Any, plot: Plot, labels: Sequence[str]) -> None:
    """Draw reference and candidates side by side on one colour scale."""
    frames = _frames(figure, len(labels))
    values = [h.values() * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)]
    x, y = plot.histograms[0].axes
    style: Any = {"cmap": "viridis", "vmin": 0, "vmax": max(v.max() for v in values)}
    for axes, value, label, n in zip(frames, values, labels, plot.showers, strict=True):
        mesh = axes.pcolormesh(x.edges, y.edges, _masked(value).T, **style)
        if plot.diagonal:
            low, high = max(x.edges[0], y.edges[0]), min(x.edges[-1], y.edges[-1])
            axes.plot([low, high], [low, high], color=look(0)[0], linewidth=1, linestyle="--")
        axes.set_xlim(x.edges[0], x.edges[-1])
        axes.set_ylim(y.edges[0], y.edges[-1])
        if n < MIN_SHOWERS:
            text = f"fewer than {MIN_SHOWERS} showers"
            axes.text(0.98, 0.02, text, transform=axes.transAxes, **THIN)
        _labels(axes, label, x.label, y.label)
    _bar(figure, mesh, plot.y_label, ax=frames[:PER_ROW], pad=0.01)
    _title(figure, plot.title)


def matrices(figure: Any, plot: Plot, labels: Sequence[str]) -> None:
    """Draw a row for each candidate: correlations of the reference, its own, and the difference."""
    reference = plot.histograms[0].values()
    shown = []
    for histogram, label in zip(plot.histograms[1:], labels[1:], strict=True):
        shown += [
            (reference, labels[0]),
            (histogram.values(), label),
            (histogram.values() - reference, "Difference"),
        ]
    axis = plot.histograms[0].axes[0]
    names = [name for name in axis if isinstance(name, str)]
    frames = _frames(figure, len(shown))
    n = len(reference)
    edges = np.arange(n + 1) - 0.5
    style: Any = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
    for axes, (values, label) in zip(frames, shown, strict=True):
        mesh = axes.pcolormesh(edges, edges, np.ma.masked_invalid(values), **style)
        axes.set_facecolor("#dddddd")
        axes.grid(visible=False)
        axes.invert_yaxis()
        if names:
            axes.set_xticks(range(n), names, rotation=90, fontsize=8.5)
            axes.set_yticks(range(n), names, fontsize=8.5)
            axes.tick_params(length=0)
        what = "" if names else axis.label.capitalize()
        _labels(axes, label, what, what)
    _bar(figure, mesh, "Correlation, or its difference", ax=frames[:PER_ROW], pad=0.01)
    _title(figure, plot.title)


def displays(figure: Any, plot: Plot, labels: Sequence[str]) -> None:
    """Draw a row for each shower: in three dimensions, and projected onto three planes."""
    height = 0.4 + 2.85 * len(labels)
    figure.set_size_inches(12.5, height)
    cells = figure.add_gridspec(
        len(labels), 5, width_ratios=(2.7, 1, 1, 1, 0.08), wspace=0.38, hspace=0.39,
        left=0.016, right=0.95, bottom=0.55 / height, top=1 - 0.65 / height,
    )  # fmt: skip
    images = [[h.project(*plane) for plane in PLANES] for h in plot.histograms]
    positive = np.concatenate([h.values()[h.values() > 0] for h in plot.histograms])
    low = positive.min(initial=np.inf) if len(positive) else 0.1
    high = max(image.values().max() for images_of in images for image in images_of)
    style: Any = {
        "cmap": "viridis",
        "norm": "log",
        "vmin": max(low, 1e-6 * high),
        "vmax": max(high, 1.01 * low),
    }
    for row, (histogram, label) in enumerate(zip(plot.histograms, labels, strict=True)):
        space = figure.add_subplot(cells[row, 0], projection="3d", computed_zorder=False)
        _space(space, histogram, style)
        box = cells[row, 0].get_position(figure)
        figure.text(
            0.015, (box.y0 + box.y1) / 2, label, rotation=90, va="center", ha="center", weight="bold",
            fontsize=fitted(label, 11, 24), color=REFERENCE if row == 0 else look(row - 1)[0],
        )  # fmt: skip
        for column, image in enumerate(images[row], 1):
            axes = figure.add_subplot(cells[row, column])
            a, b = image.axes
            mesh = axes.pcolormesh(a.edges, b.edges, _masked(image.values()).T, **style)
            axes.set_xlabel(a.label, fontsize=9)
            axes.set_ylabel(b.label, fontsize=9, labelpad=2.5)
            axes.tick_params(labelsize=8)
            axes.locator_params(nbins=5, integer=True)
            axes.grid(visible=False)
    _bar(figure, mesh, plot.y_label, cax=figure.add_subplot(cells[0, 4]))
    _title(figure, plot.title)


def _space(axes: Any, histogram: Any, style: dict[str, Any]) -> None:
    """Draw a shower's cells in three dimensions, depth to the right: size and colour by deposit."""
    axes.patch.set_visible(False)
    deposits = histogram.values()
    first, second, depth = np.nonzero(deposits)
    found = deposits[first, second, depth]
    order = np.argsort(found)
    decades = np.log10(style["vmax"] / style["vmin"])
    share = np.clip(np.log10(found[order] / style["vmin"]) / decades, 0, 1)
    axes.scatter(
        depth[order], second[order], first[order], c=found[order], s=0.6 + 50 * share**3,
        alpha=0.7, linewidths=0, depthshade=False, clip_on=False, **style,
    )  # fmt: skip
    limits = (axes.set_zlim, axes.set_ylim, axes.set_xlim)
    for limit, n in zip(limits, deposits.shape, strict=True):
        limit(0, max(1, n - 1))
    axes.set_box_aspect((1.6, 1, 1), zoom=1.75)
    axes.view_init(elev=14, azim=-68)
    names = [a.label.split(" ")[0] for a in histogram.axes]
    axes.set_xlabel(names[2], fontsize=9, labelpad=-8)
    axes.set_ylabel(names[1], fontsize=9, labelpad=-9)
    axes.set_zlabel(names[0], fontsize=9, labelpad=-9)
    axes.tick_params(labelsize=7, pad=-3)
    for axis, most in (("x", 5), ("y", 2), ("z", 5)):  # the second one points away: there is little room
        axes.locator_params(axis, nbins=most, integer=True)


def _frames(figure: Any, count: int) -> list[Any]:
    """Place square frames in rows of at most PER_ROW."""
    columns, rows = min(count, PER_ROW), -(-count // PER_ROW)
    figure.set_size_inches(SIZE * columns + 1.3, (SIZE + 0.55) * rows + 0.35)
    figure.set_layout_engine("compressed")  # frames of a fixed shape move together
    cells = figure.add_gridspec(rows, columns)
    return [figure.add_subplot(cells[divmod(index, columns)], box_aspect=1) for index in range(count)]


def _labels(axes: Any, title: str, x_label: str, y_label: str) -> None:
    """Write a frame's title and labels; those of y only at the first frame of a row."""
    axes.set_title(title, fontsize=fitted(title, 11, 32))
    axes.set_xlabel(x_label, fontsize=fitted(x_label, 11, 36))
    if axes.get_subplotspec().is_first_col():
        axes.set_ylabel(y_label, fontsize=fitted(y_label, 11, 36))
    else:
        axes.tick_params(labelleft=False)


def _bar(figure: Any, mesh: Any, label: str, **where: Any) -> None:
    """Draw a colour bar at the right of the first row."""
    bar = figure.colorbar(mesh, **where)
    bar.set_label(label, fontsize=10)
    bar.ax.tick_params(labelsize=9)


def _title(figure: Any, title: str) -> None:
    style = heading(title, int(9 * figure.get_figwidth()))
    figure.suptitle(title, x=0.02, horizontalalignment="left", **style)


def _masked(values: NDArray[Any]) -> Any:
    """Leave empty bins white."""
    return np.ma.masked_less_equal(values, 0)
