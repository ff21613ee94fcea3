"""Plots as data: histograms of a reference and its candidates, with their axes, values and errors.

Every histogram is a ``hist.Hist`` with variances, so it can go to ROOT as it is. This is the only
module that imports hist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.selections import INCLUSIVE
from caloforge.detector import Grid
from caloforge.foundations.errors import MissingExtraError

try:
    import hist
except ImportError:
    raise MissingExtraError("a report or a figure", "report") from None

__all__ = ["Plot", "axis_label", "histogram", "image", "map_of", "matrix", "points"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Plot:
    """One plot: ``kind`` says how :mod:`caloforge.report.plots.draw` draws its histograms.

    "curves": reference and candidates in one frame, with what candidates are of the reference below;
    "points": values with errors at the numbers that name the bins, without a frame below;
    "maps": the same in two dimensions, side by side; "matrix": correlations side by side, and their
    differences from the reference's; "display": a shower of each, in three dimensions.

    ``histograms``, ``scale`` (multiplies the histogram) and ``showers`` (their number, said in the
    legend) hold the reference first, then each candidate. ``observable`` is the name of what is shown,
    or empty; ``where`` the title of the selection. ``difference``: candidate minus reference is shown
    below the curves, not their ratio. ``diagonal``: a map's two axes should agree. ``members`` are the
    places of the files that are shown, the reference being 0; empty for all of them. ``lines`` (2, P) are
    drawn through the curves, one for each histogram. ``folded``: one of many that a reader opens.
    """

    name: str
    title: str
    kind: Literal["curves", "points", "maps", "matrix", "display"]
    histograms: tuple[Any, ...]
    scale: tuple[float, ...]
    showers: tuple[int, ...]
    topic: str = ""
    observable: str = ""
    where: str = INCLUSIVE.title
    y_label: str = ""
    log_x: bool = False
    log_y: bool = False
    whole_x: bool = False
    difference: bool = False
    diagonal: bool = False
    members: tuple[int, ...] = ()
    lines: tuple[Array, ...] = ()
    folded: bool = False

    def of(self, labels: Sequence[str]) -> list[str]:
        """Choose the labels of the files that are shown."""
        return [labels[place] for place in self.members] if self.members else list(labels)


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


def histogram(edges: Array, label: str, values: Array, variances: Array) -> Any:
    """Make a histogram of one dimension."""
    filled = hist.Hist(hist.axis.Variable(edges, label=label), storage=hist.storage.Weight())
    filled.view()["value"], filled.view()["variance"] = values, variances
    return filled


def points(
    places: Sequence[int], label: str, values: Mapping[int, float], errors: Mapping[int, float]
) -> Any:
    """Make a histogram with a bin at each place, named by it; NaN where there is no value."""
    axis = hist.axis.StrCategory([str(place) for place in places], label=label)
    filled = hist.Hist(axis, storage=hist.storage.Weight())
    filled.view()["value"] = [values.get(place, np.nan) for place in places]
    filled.view()["variance"] = [errors.get(place, np.nan) ** 2 for place in places]
    return filled


def map_of(edges: Sequence[Array], labels: Sequence[str], counts: Array) -> Any:
    """Make a histogram of two dimensions from counts, whose variances they are."""
    axes = [hist.axis.Variable(e, label=text) for e, text in zip(edges, labels, strict=True)]
    filled = hist.Hist(*axes, storage=hist.storage.Weight())
    filled.view()["value"] = filled.view()["variance"] = counts
    return filled


def matrix(names: Sequence[str] | str, correlation: Array, n_showers: int) -> Any:
    """Make a histogram of a correlation matrix; ``names`` of its rows, or what its numbered rows are."""
    n = len(correlation)
    axes = [
        hist.axis.Regular(n, -0.5, n - 0.5, label=f"{other}{names}")
        if isinstance(names, str)
        else hist.axis.StrCategory(names, label=f"{other}observable")
        for other in ("", "other ")
    ]
    filled = hist.Hist(*axes, storage=hist.storage.Weight())
    filled.view()["value"] = correlation
    # Of normally distributed quantities (large n).
    filled.view()["variance"] = (1 - correlation**2) ** 2 / max(1, n_showers - 1)
    return filled


def image(grid: Grid, deposits: Array) -> Any:
    """Make a histogram of three dimensions from a shower (nx, ny, nz)."""
    axes = [
        hist.axis.Regular(n, -0.5, n - 0.5, label=axis_label(grid, axis))
        for axis, n in zip(grid.axes, grid.shape, strict=True)
    ]
    return hist.Hist(*axes, storage=hist.storage.Double(), data=deposits)
