"""Drawing: every plot of a report in one style, as PNG. The only module that imports matplotlib.

The reference is black with a grey band, the candidate coloured; bands and bars are statistical
errors (one standard deviation). Figures are drawn without pyplot, so nothing here is global and
several processes can draw at once.
"""

from __future__ import annotations

import io
import signal
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.errors import CaloforgeError, MissingExtraError
from caloforge.physics.histograms import Plot
from caloforge.progress import Progress, silent

try:
    import matplotlib as mpl
    import mplhep
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from PIL import Image
except ImportError:
    raise MissingExtraError("validate", "report") from None

__all__ = ["render", "render_all"]

REFERENCE = "#1a1a1a"
BAND = "#c9c9c9"
CANDIDATE = "#d1480f"
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 12,
    "axes.linewidth": 0.9,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 1.6,
    "xtick.direction": "in",
    "xtick.top": True,
    "ytick.direction": "in",
    "ytick.right": True,
}
DPI = 110
COLOURS = 96
"""Colours of a PNG: lines and text keep their looks at a third of the size."""

RATIO_RANGES = (0.05, 0.1, 0.25, 0.5, 1.0)


def render(plot: Plot, labels: Sequence[str]) -> bytes:
    """Draw a plot; ``labels`` name reference and candidates. Gives the bytes of a PNG file."""
    drawers = {"curves": _curves, "maps": _maps, "display": _display}
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # A label may hold characters that the font lacks: they show as boxes, and that is all.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        counted = [f"{_plain(label)} ({n})" for label, n in zip(labels, plot.showers, strict=True)]
        names = [_plain(label) for label in labels] if plot.kind == "display" else counted
        figure = drawers[plot.kind](plot, names)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        size = canvas.get_width_height()
        image = Image.frombuffer("RGBA", size, canvas.buffer_rgba()).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(COLOURS if plot.kind == "curves" else 256).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def render_all(
    plots: Sequence[Plot], labels: Sequence[str], *, workers: int = 1, progress: Progress = silent
) -> Iterator[tuple[Plot, bytes]]:
    """Draw all plots in order, with several processes where ``workers`` is above 1.

    Raises CaloforgeError if a process dies.
    """
    draw = partial(render, labels=labels)
    if workers <= 1:
        for done, plot in enumerate(plots, 1):
            yield plot, draw(plot)
            progress(done, len(plots))
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupt)
    try:
        for done, (plot, image) in enumerate(zip(plots, pool.map(draw, plots), strict=True), 1):
            yield plot, image
            progress(done, len(plots))
    except BrokenProcessPool:
        raise CaloforgeError("plots: a drawing process died, perhaps for want of memory") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which then ends its workers without a word from them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _plain(label: str) -> str:
    """Keep matplotlib from reading a label as mathematics, or as one to hide."""
    text = label.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _curves(plot: Plot, labels: Sequence[str]) -> Figure:
    """Draw reference and candidate with their ratio below."""
    figure = Figure(figsize=(5.6, 4.7), dpi=DPI)
    main = figure.add_axes((0.16, 0.36, 0.81, 0.56))
    below = figure.add_axes((0.16, 0.115, 0.81, 0.215), sharex=main)
    edges = plot.histograms[0].axes[0].edges
    values = [h.values() * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)]
    errors = [
        np.sqrt(h.variances()) * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)
    ]
    reference, candidate = values

    mplhep.histplot(reference, edges, ax=main, histtype="step", color=REFERENCE, edges=False, zorder=3)
    _band(main, edges, reference, errors[0], label=labels[0])
    mplhep.histplot(
        candidate,
        edges,
        ax=main,
        histtype="step",
        color=CANDIDATE,
        edges=False,
        label=labels[1],
        zorder=4,
    )
    centres = (edges[:-1] * edges[1:]) ** 0.5 if plot.log_x else (edges[:-1] + edges[1:]) / 2
    main.errorbar(centres, candidate, errors[1], fmt="none", ecolor=CANDIDATE, elinewidth=1.1, zorder=4)
    _scales(
        main,
        plot,
        edges,
        np.concatenate(values),
        np.concatenate([v + e for v, e in zip(values, errors, strict=True)]),
    )
    main.set_ylabel(plot.y_label)
    main.tick_params(labelbottom=False)
    handles, texts = main.get_legend_handles_labels()
    main.legend(handles, texts, loc="best")
    main.text(0, 1.025, plot.title, transform=main.transAxes, **_heading(plot.title))

    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(reference != 0, candidate / reference, np.nan)
        ratio_error = np.abs(errors[1] / np.where(reference != 0, reference, np.nan))
        band_error = np.abs(errors[0] / np.where(reference != 0, reference, np.nan))
    _ratio(below, centres, edges, ratio, ratio_error, band_error)
    if plot.whole_x:
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    below.set_xlabel(plot.histograms[0].axes[0].label)
    return figure


def _band(axes: Any, edges: Any, values: Any, errors: Any, *, label: str | None = None) -> None:
    """Shade values +- errors bin by bin; the black edge stands for the reference's line in a legend."""
    low, high = (np.append(v, v[-1]) for v in (values - errors, values + errors))
    axes.fill_between(edges, low, high, step="post", color=BAND, linewidth=0, zorder=2)
    if label is not None:
        axes.fill_between([], [], [], facecolor=BAND, edgecolor=REFERENCE, linewidth=1.4, label=label)


def _scales(axes: Any, plot: Plot, edges: Any, values: Any, tops: Any) -> None:
    """Set ranges that show all of the data with room for the legend."""
    if plot.log_x:
        axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    top = np.nanmax(tops, initial=0)
    bottom = np.nanmin(values, initial=0)
    if plot.log_y and (values > 0).any():
        axes.set_yscale("log")
        lowest = np.nanmin(values[values > 0])
        axes.set_ylim(lowest / 2, top * (top / lowest) ** 0.25 * 2)
    elif bottom >= 0 and np.nanmin(values) < 0.5 * top:
        axes.set_ylim(0, 1.3 * top if top > 0 else 1)
    else:
        low, high = np.nanmin(2 * values - tops), np.nanmax(tops)
        margin = 0.15 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + 2 * margin)


def _ratio(axes: Any, centres: Any, edges: Any, ratio: Any, error: Any, band: Any) -> None:
    """Draw candidate / reference; what lies beyond the range is an arrow at its edge."""
    shown = np.isfinite(ratio) & np.isfinite(error)
    sure = shown & (error < 0.5)
    reach = 1.0
    if sure.any():
        reach = max(np.quantile(np.abs(ratio[sure] - 1), 0.9), 1.5 * float(np.median(error[sure])))
    half = next((r for r in RATIO_RANGES if r >= 1.2 * reach), RATIO_RANGES[-1])
    axes.set_ylim(1 - 1.25 * half, 1 + 1.25 * half)
    axes.set_yticks([1 - half, 1, 1 + half])
    _band(axes, edges, np.ones(len(ratio)), np.nan_to_num(np.minimum(band, 2 * half)))
    axes.axhline(1, color=REFERENCE, linewidth=1)
    inside = shown & (np.abs(ratio - 1) <= half)
    axes.errorbar(
        centres[inside],
        ratio[inside],
        error[inside],
        fmt="o",
        markersize=3.2,
        color=CANDIDATE,
        elinewidth=1.1,
        zorder=3,
    )
    for marker, beyond, level in (("^", ratio > 1 + half, 0.93), ("v", ratio < 1 - half, 0.07)):
        axes.plot(
            centres[shown & beyond],
            np.full(int((shown & beyond).sum()), level),
            marker,
            color=CANDIDATE,
            markersize=5,
            transform=axes.get_xaxis_transform(),
        )
    axes.set_ylabel("Ratio")


def _heading(title: str) -> dict[str, Any]:
    """Style a title; long ones are smaller."""
    return {"weight": "bold", "fontsize": 11.5 if len(title) < 44 else 10}


def _maps(plot: Plot, labels: Sequence[str]) -> Figure:
    """Draw reference and candidate side by side on one colour scale."""
    figure = Figure(figsize=(8.4, 4.2), dpi=DPI)
    values = [h.values() * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)]
    top = max(v.max() for v in values)
    for index, (histogram, value, label) in enumerate(zip(plot.histograms, values, labels, strict=True)):
        axes = figure.add_axes((0.085 + 0.415 * index, 0.14, 0.375, 0.72))
        x, y = histogram.axes
        mesh = axes.pcolormesh(x.edges, y.edges, _masked(value).T, cmap="viridis", vmin=0, vmax=top)
        low, high = max(x.edges[0], y.edges[0]), min(x.edges[-1], y.edges[-1])
        axes.plot([low, high], [low, high], color=CANDIDATE, linewidth=1, linestyle="--")
        axes.set_xlim(x.edges[0], x.edges[-1])
        axes.set_ylim(y.edges[0], y.edges[-1])
        axes.set_xlabel(x.label)
        axes.set_title(label, fontsize=11)
        if index == 0:
            axes.set_ylabel(y.label)
        else:
            axes.tick_params(labelleft=False)
    bar = figure.colorbar(mesh, cax=figure.add_axes((0.89, 0.14, 0.015, 0.72)))
    bar.set_label(plot.y_label)
    figure.text(0.08, 0.94, plot.title, **_heading(plot.title))
    return figure


def _display(plot: Plot, labels: Sequence[str]) -> Figure:
    """Draw three projections of a reference shower above three of a candidate one."""
    figure = Figure(figsize=(9.6, 5.9), dpi=DPI)
    planes = ((2, 0), (2, 1), (0, 1))
    images = [histogram.project(*plane) for histogram in plot.histograms for plane in planes]
    values = [image.values() for image in images]
    positive = np.concatenate([v[v > 0] for v in values] + [np.zeros(0)])
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    norm = LogNorm(max(low, 1e-6 * high), max(high, 1.001 * low))
    for index, (histogram, value) in enumerate(zip(images, values, strict=True)):
        row, column = divmod(index, 3)
        axes = figure.add_axes((0.095 + 0.278 * column, 0.545 - 0.445 * row, 0.225, 0.36))
        x, y = histogram.axes
        mesh = axes.pcolormesh(x.edges, y.edges, _masked(value).T, cmap="viridis", norm=norm)
        axes.set_xlabel(x.label, fontsize=10)
        axes.set_ylabel(y.label, fontsize=10)
        axes.tick_params(labelsize=9)
        axes.grid(visible=False)
        if column == 0:
            axes.text(
                -0.36,
                0.5,
                labels[row],
                transform=axes.transAxes,
                rotation=90,
                va="center",
                ha="center",
                weight="bold",
                fontsize=11,
                color=(REFERENCE, CANDIDATE)[row],
            )
    bar = figure.colorbar(mesh, cax=figure.add_axes((0.91, 0.1, 0.014, 0.805)))
    bar.set_label(plot.y_label, fontsize=10)
    figure.text(0.02, 0.955, plot.title, **_heading(plot.title))
    return figure


def _masked(values: NDArray[Any]) -> Any:
    """Leave empty bins white."""
    return np.ma.masked_less_equal(values, 0)
