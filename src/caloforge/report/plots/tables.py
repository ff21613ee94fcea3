"""The data of a plot as text that any program reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.report.plots.histograms import Plot

__all__ = ["table"]


def table(plot: Plot, labels: Sequence[str]) -> str:
    """Write a plot's data as CSV: a line a bin, with each sample's value and statistical error.

    The header names axes and units, and the samples by ``labels`` (the reference first). Undefined
    numbers are empty. Of an event display only the cells with a deposit are listed, without error.
    """
    axes = plot.histograms[0].axes
    columns: dict[str, NDArray[Any]] = {}
    for axis, place in zip(axes, np.indices(axes.size), strict=True):
        bins = list(axis)
        if isinstance(bins[0], str):
            columns[axis.label] = np.array(bins)[place.ravel()]
        else:
            low, high = np.array(bins).T
            columns[f"{axis.label} from"] = low[place.ravel()]
            columns[f"{axis.label} to"] = high[place.ravel()]
    values = [h.values().ravel() * scale for h, scale in zip(plot.histograms, plot.scale, strict=True)]
    keep = np.ones(len(values[0]), dtype=bool)
    if plot.kind == "display":
        keep = np.any([v > 0 for v in values], axis=0)
    for label, histogram, value, scale in zip(
        plot.of(labels), plot.histograms, values, plot.scale, strict=True
    ):
        columns[f"{label}: {plot.y_label}"] = value
        if plot.kind != "display":
            columns[f"{label}: error"] = np.sqrt(histogram.variances().ravel()) * scale
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_text, columns))
    writer.writerows(zip(*(_texts(column[keep]) for column in columns.values()), strict=True))
    return text.getvalue()


def _texts(column: NDArray[Any]) -> list[str]:
    if column.dtype.kind == "U":
        return [_text(str(text)) for text in column]
    return ["" if np.isnan(number) else f"{number:.7g}" for number in column.tolist()]


def _text(text: str) -> str:
    """Quote a text that a spreadsheet would take for a formula and work out."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
