"""Drawing: every plot of a report in one style, as PNG. The only module that imports matplotlib.

The reference is black with a grey band; each candidate has a colour, a line style and a marker of its
own. Bands and bars are statistical errors (one standard deviation). What rests on fewer than 20
showers says so: a sample in the frame, a bin by its hatch. Figures are drawn without pyplot, so nothing
here is global and several processes can draw at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from logging import getLogger
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.selections import MIN_SHOWERS
from caloforge.foundations.errors import CaloforgeError, MissingExtraError
from caloforge.foundations.processes import deaf, end_with
from caloforge.foundations.progress import Progress, silent
from caloforge.report.plots import panels
from caloforge.report.plots.histograms import Plot
from caloforge.report.plots.style import BAND, REFERENCE, STYLE, THIN, fitted, heading, look, plain

# What a notebook or a user has set up for other figures has no say in these, and needs no telling.
_backend, _loaded, _logger = (
    os.environ.pop("MPLBACKEND", None),
    "matplotlib" in sys.modules,
    getLogger("matplotlib"),
)
_level = _logger.level
_logger.setLevel("ERROR")
try:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
    from PIL import Image
except ImportError:
    raise MissingExtraError("a report or a figure", "report") from None
except (OSError, ValueError) as error:
    raise CaloforgeError(f"matplotlib cannot read its configuration: {error}") from None
finally:
    _logger.setLevel(_level)
    if _backend is not None:
        os.environ["MPLBACKEND"] = _backend
if _backend is not None and not _loaded:
    with suppress(ValueError):
        mpl.rcParams["backend"] = _backend  # for figures that this process draws elsewhere

__all__ = ["Drawn", "drawn", "few_ticks", "fill", "picture", "render", "render_all"]

DPI = 170
"""Sharp where a plot fills a screen of 900 pixels in height, and in the page's grid on screens of double density."""

FAINT = 0.45
"""Opacity of what rests on few showers."""

RATIO_RANGES = (0.05, 0.1, 0.25, 0.5, 1.0)

LOOK: Any = {
    name: mpl.rcParamsDefault[name] for name in mpl.rcParamsDefault if not name.startswith("backend")
} | STYLE
"""Every setting, matplotlib's own where ours has none: a matplotlibrc may ask for LaTeX."""


class Drawn(Figure):
    """A figure that a notebook shows."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(LOOK):
            self.savefig(buffer, format="png")
        return buffer.getvalue()


def render(plot: Plot, labels: Sequence[str]) -> bytes:
    """Draw a plot; ``labels`` name reference and candidates. Returns the bytes of a PNG file."""
    shaded = plot.kind not in ("curves", "points")
    return picture(lambda figure: fill(figure, plot, labels), shaded=shaded)


def fill(figure: Figure, plot: Plot, labels: Sequence[str]) -> None:
    """Draw a plot into an empty figure."""
    drawers = {
        "curves": _curves,
        "points": _points,
        "maps": panels.maps,
        "matrix": panels.matrices,
        "display": panels.displays,
    }
    names = [plain(label) for label in plot.of(labels)]
    if plot.kind != "display":
        names = [f"{name} ({n})" for name, n in zip(names, plot.showers, strict=True)]
    drawers[plot.kind](figure, plot, names)


def drawn(fill: Callable[[Figure], None], inches: tuple[float, float] | None = None) -> Drawn:
    """Let a function fill an empty figure, in the style of all, and return it.

    A function that sets size and layout itself is given no ``inches``.
    """
    with mpl.rc_context(LOOK):
        figure = Drawn(figsize=inches, layout="constrained" if inches else None)
        FigureCanvasAgg(figure)
        fill(figure)
    return figure


def picture(
    fill: Callable[[Figure], None], inches: tuple[float, float] | None = None, *, shaded: bool = False
) -> bytes:
    """Let a function fill an empty figure, in the style of all, and return the bytes of a PNG file.

    A function that sets size and layout itself is given no ``inches``. ``shaded``: it draws scales of colours.
    """
    with mpl.rc_context(LOOK), warnings.catch_warnings():
        # A label may hold characters that the font lacks: they show as boxes, and that is all.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=inches, dpi=DPI, layout="constrained" if inches else None)
        fill(figure)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        size = canvas.get_width_height()
        image = Image.frombuffer("RGBA", size, canvas.buffer_rgba()).convert("RGB")
    return _png(image, shaded=shaded)


def few_ticks(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers where it has less than two decades, else its decades alone."""
    low, high = axis.get_view_interval()
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _png(image: Image.Image, *, shaded: bool) -> bytes:
    """Write a picture with 256 colours: lines and text keep their looks at a third of the size.

    The octree is the fastest, and too coarse for scales of colours: there the commonest colours stay.
    """
    if shaded:
        colours: Any = image.getcolors(image.width * image.height)  # how often, and which
        kept = Image.new("P", (1, 1))
        kept.putpalette([level for _, colour in sorted(colours)[:-257:-1] for level in colour])
        reduced = image.quantize(palette=kept, dither=Image.Dither.NONE)
    else:
        reduced = image.quantize(256, method=Image.Quantize.FASTOCTREE)
    palette = reduced.getpalette()
    assert palette is not None
    corner = 3 * int(reduced.tobytes()[0])
    palette[corner : corner + 3] = (255, 255, 255)  # both have white a shade too dark
    reduced.putpalette(palette)
    buffer = io.BytesIO()
    reduced.save(
        buffer, "png", compress_level=8
    )  # a seventh smaller than the default; 9 takes twice as long
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
    pool = ProcessPoolExecutor(workers, get_context("spawn"), end_with, (os.getpid(),))
    try:
        with deaf(
            signal.SIGINT
        ):  # this process answers Ctrl-C, and ends its workers without a word from them
            images = pool.map(draw, plots)
        for done, (plot, image) in enumerate(zip(plots, images, strict=True), 1):
            yield plot, image
            progress(done, len(plots))
    except BrokenProcessPool:
        raise CaloforgeError("plots: a drawing process died, perhaps for want of memory") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _curves(figure: Figure, plot: Plot, labels: Sequence[str]) -> None:
    """Draw reference and candidates, and below how the candidates differ."""
    figure.set_size_inches(5.6, 4.7)
    # The same frames in every plot, and no time for a layout: a report has hundreds.
    main = figure.add_axes((0.16, 0.36, 0.81, 0.56))
    below = figure.add_axes((0.16, 0.115, 0.81, 0.215), sharex=main)
    edges = plot.histograms[0].axes[0].edges
    values = [h.values() * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)]
    errors = [
        np.sqrt(h.variances()) * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)
    ]
    if plot.log_x:
        main.set_xscale("log")
    main.set_xlim(edges[0], edges[-1])
    for axes in (main, below):
        _hatch(axes, edges, np.isnan(sum(values)))

    main.stairs(values[0], edges, baseline=None, color=REFERENCE, zorder=3)
    _band(main, edges, values[0], errors[0], label=labels[0])
    places = [_inside(edges, i, len(values) - 1, log=plot.log_x) for i in range(len(values) - 1)]
    for index, place in enumerate(places):
        colour, line, _ = look(index)
        value, error = values[index + 1], errors[index + 1]
        style: Any = {"color": colour, "linestyle": line, "label": labels[index + 1], "zorder": 4}
        style["alpha"] = FAINT if plot.showers[index + 1] < MIN_SHOWERS else 1.0
        main.stairs(value, edges, baseline=None, **style)
        main.errorbar(
            place,
            value,
            error,
            fmt="none",
            ecolor=colour,
            elinewidth=1.1,
            alpha=style["alpha"],
            zorder=4,
        )
    for index, (x, y) in enumerate(plot.lines):
        main.plot(x, y, color=look(index - 1)[0] if index else REFERENCE, linewidth=0.9, zorder=3.5)
    _limits(main, plot, np.concatenate(values), np.concatenate(errors))
    main.set_ylabel(plot.y_label, fontsize=fitted(plot.y_label, 12, 32))
    main.tick_params(which="both", labelbottom=False)
    _legend(main, plot, labels)
    main.text(0, 1.025, plot.title, transform=main.transAxes, **heading(plot.title))

    _differences(below, plot, edges, places, values, errors)
    if plot.whole_x:
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
    if plot.log_x and edges[-1] > 10 * edges[0]:
        few_ticks(below.xaxis)
    label = plot.histograms[0].axes[0].label
    below.set_xlabel(label, fontsize=fitted(label, 12, 48))


def _points(figure: Figure, plot: Plot, labels: Sequence[str]) -> None:
    """Draw values with errors over a logarithmic axis; the reference's are those of its halves."""
    figure.set_size_inches(5.6, 4.7)
    axes = figure.add_axes((0.16, 0.125, 0.81, 0.795))
    place = np.array([float(name) for name in plot.histograms[0].axes[0]])
    looks = [(REFERENCE, ":", "v"), *map(look, range(len(labels) - 1))]
    texts = [f"{labels[0]} against itself", *labels[1:]]
    for histogram, text, (colour, line, marker) in zip(plot.histograms, texts, looks, strict=True):
        value, error = histogram.values(), np.sqrt(np.nan_to_num(histogram.variances()))
        shown = np.isfinite(value)
        style: Any = {"color": colour, "linestyle": line, "marker": marker, "capsize": 3, "label": text}
        axes.errorbar(place[shown], value[shown], error[shown], **style)
    axes.set_xscale("log")
    axes.set_xlim(place[0] / 1.3, place[-1] * 1.3)
    few_ticks(axes.xaxis)
    axes.margins(y=0.25)
    axes.legend(loc="best", fontsize=fitted(max(texts, key=len), 11, 40))
    axes.set_xlabel(plot.histograms[0].axes[0].label)
    axes.set_ylabel(plot.y_label)
    axes.text(0, 1.025, plot.title, transform=axes.transAxes, **heading(plot.title))


def _inside(edges: Any, index: int, count: int, *, log: bool) -> Any:
    """Return places in the bins for one of ``count`` candidates, so that none hides another."""
    share = (index + 1) / (count + 1)
    if log:
        return edges[:-1] * (edges[1:] / edges[:-1]) ** share
    return edges[:-1] + (edges[1:] - edges[:-1]) * share


def _hatch(axes: Any, edges: Any, thin: NDArray[np.bool_]) -> None:
    """Hatch the bins without a value for one of the samples."""
    for index in np.flatnonzero(thin):
        axes.axvspan(
            edges[index], edges[index + 1], facecolor="none", hatch="////", linewidth=0, zorder=1
        )


def _band(axes: Any, edges: Any, values: Any, errors: Any, *, label: str | None = None) -> None:
    """Shade values +- errors bin by bin; the black edge stands for the reference's line in a legend."""
    low, high = (np.append(v, v[-1]) for v in (values - errors, values + errors))
    axes.fill_between(edges, low, high, step="post", color=BAND, linewidth=0, zorder=2)
    if label is not None:
        axes.fill_between([], [], [], facecolor=BAND, edgecolor=REFERENCE, linewidth=1.4, label=label)


def _limits(axes: Any, plot: Plot, values: Any, errors: Any) -> None:
    """Set ranges that show all of the data with room for the legend."""
    room = 0.3 + 0.1 * max(0, len(plot.histograms) - 2)
    tops = values + errors
    top = np.nanmax(tops, initial=0)
    bottom = np.nanmin(values, initial=0)
    if plot.log_y and (values > 0).any():
        axes.set_yscale("log")
        lowest = np.nanmin(values[values > 0])
        axes.set_ylim(lowest / 2, top * min((top / lowest) ** room, 100) * 2)
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif bottom >= 0 and np.nanmin(values, initial=np.inf) < 0.5 * top:
        axes.set_ylim(0, (1 + room) * top if top > 0 else 1)
    elif np.isfinite(tops).any():
        low, high = np.nanmin(values - errors), np.nanmax(tops)
        margin = 0.12 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin + room * (high - low))


def _legend(axes: Any, plot: Plot, labels: Sequence[str]) -> None:
    """Name the samples, and what is thin."""
    handles, texts = axes.get_legend_handles_labels()
    small = len(texts) > 3 or max(map(len, texts)) > 34
    axes.legend(handles, texts, loc="best", fontsize=9 if small else 11)
    thin = [label for label, n in zip(labels, plot.showers, strict=True) if n < MIN_SHOWERS]
    notes = [f"fewer than {MIN_SHOWERS} showers: {', '.join(thin)}"] if thin else []
    if any(np.isnan(histogram.values()).any() for histogram in plot.histograms):
        notes.append(f"hatched: fewer than {MIN_SHOWERS} showers")
    if notes:
        axes.text(0.985, 0.02, "\n".join(notes), transform=axes.transAxes, **THIN)


def _differences(
    axes: Any,
    plot: Plot,
    edges: Any,
    places: Sequence[Any],
    values: Sequence[Any],
    errors: Sequence[Any],
) -> None:
    """Draw candidate / reference or candidate - reference; what is beyond the range is an arrow."""
    middle = 0.0 if plot.difference else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        if plot.difference:
            found = [value - values[0] for value in values]
            spread = errors
        else:
            unit = np.where(values[0] != 0, values[0], np.nan)
            found = [value / unit for value in values]
            spread = [np.abs(error / unit) for error in errors]
    good = [np.isfinite(f) & np.isfinite(s) for f, s in zip(found, spread, strict=True)]
    away = np.concatenate([np.abs(f - middle)[g] for f, g in zip(found[1:], good[1:], strict=True)])
    bars = np.concatenate([s[g] for s, g in zip(spread[1:], good[1:], strict=True)])
    half = _reach(away, bars, ratio=not plot.difference)
    axes.set_ylim(middle - 1.25 * half, middle + 1.25 * half)
    axes.set_yticks([middle - half, middle, middle + half])
    _band(axes, edges, np.full(len(edges) - 1, middle), np.nan_to_num(np.minimum(spread[0], 2 * half)))
    axes.axhline(middle, color=REFERENCE, linewidth=1)
    for index, place in enumerate(places):
        colour, _, marker = look(index)
        value, bar, shown = found[index + 1], spread[index + 1], good[index + 1]
        near = shown & (np.abs(value - middle) <= 1.2 * half)
        style: Any = {"markersize": 3.2, "color": colour, "elinewidth": 1.1, "zorder": 3}
        style["alpha"] = FAINT if plot.showers[index + 1] < MIN_SHOWERS else 1.0
        axes.errorbar(place[near], value[near], bar[near], fmt=marker, **style)
        for arrow, beyond, level in (("^", value > middle, 0.94), ("v", value < middle, 0.06)):
            where = place[shown & ~near & beyond]
            heights = np.full(len(where), level)
            axes.plot(
                where, heights, arrow, color=colour, markersize=5, transform=axes.get_xaxis_transform()
            )
    axes.set_ylabel("Difference" if plot.difference else "Ratio")


def _reach(away: Any, errors: Any, *, ratio: bool) -> float:
    """Choose how far from agreement the lower frame shows, from deviations and their errors."""
    if ratio:
        sure = errors < 0.5
        if not sure.any():
            return RATIO_RANGES[-1]
        reach = max(np.quantile(away[sure], 0.9), 1.5 * float(np.median(errors[sure])))
        return next((r for r in RATIO_RANGES if r >= 1.2 * reach), RATIO_RANGES[-1])
    if len(away) == 0:
        return 1.0
    reach = 1.2 * max(np.quantile(away, 0.9), 1.5 * float(np.median(errors))) or 1.0
    power = 10.0 ** np.floor(np.log10(reach))
    return float(next(step for step in (1, 2, 5, 10) if step * power >= 0.999 * reach) * power)
