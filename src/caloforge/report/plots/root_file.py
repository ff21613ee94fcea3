"""Plots as histograms in a ROOT file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.files.root import new_root_file
from caloforge.report.plots.histograms import Plot

__all__ = ["write_root"]


def write_root(path: Path, plots: Iterable[Plot], labels: Sequence[str]) -> None:
    """Write every plot's histograms as ``<label>/<plot's name>``: TH1D, TH2D or TH3D with axis titles.

    ``labels`` name the reference and the candidates; of each the letters, digits and ``._-`` are kept,
    and a number where two would be the same. Errors are kept (Sumw2). Contents are those of the
    histograms, so distributions count showers. What is undefined, as a mean over too few showers, is 0
    with error 0. Event displays hold MeV in cells.
    """
    folders = _folders(labels)
    with new_root_file(path) as file:
        for plot in plots:
            for folder, filled, scale in zip(plot.of(folders), plot.histograms, plot.scale, strict=True):
                file[f"{folder}/{plot.name}"] = _titled(filled, plot, counts=scale != 1)


def _folders(labels: Sequence[str]) -> list[str]:
    folders: list[str] = []
    for label in labels:
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", label).strip("._") or "showers"
        folders.append(f"{name}_{len(folders)}" if name in folders else name)
    return folders


def _titled(filled: Any, plot: Plot, *, counts: bool) -> Any:
    """Copy a histogram, with what uproot takes for ROOT's title and no undefined number."""
    copied = filled.copy()
    copied.name = f"{plot.title} ({'showers' if counts else plot.y_label})"
    if plot.kind != "display":
        view = copied.view()
        undefined = np.isnan(view["value"]) | np.isnan(view["variance"])
        view["value"][undefined] = view["variance"][undefined] = 0
    return copied
