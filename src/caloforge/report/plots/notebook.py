"""Figures of showers for whoever looks at them in Python: ``showers.plot()`` and ``showers[3].display()``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector.positions import layer_depths_mm
from caloforge.foundations.errors import UsageError
from caloforge.observables.image import Image
from caloforge.observables.lengths import Lengths, ring_edges
from caloforge.report.plots import maps
from caloforge.report.plots.draw import Drawn, drawn, fill
from caloforge.report.plots.style import heading, look
from caloforge.showers import Showers, name_of

__all__ = ["event", "profiles"]

Array = NDArray[np.float64]

BINS = 30
ONE_ENERGY = 1e-3
"""Incident energies that differ by no more (relative) are one."""


def event(showers: Showers) -> Drawn:
    """Draw one shower in space and onto three planes. Raises UsageError where it is not one."""
    if len(showers) != 1:
        raise UsageError(f"display: expected one shower, such as showers[0], got {len(showers)}")
    plot = maps.display("display", [showers])
    particle = name_of(int(showers.conditions.particle[0]))
    title = plot.title.replace("One shower of each", f"One shower of {particle}")
    label = showers.grid.name
    return drawn(lambda figure: fill(figure, replace(plot, title=title), [label]))


def profiles(showers: Showers) -> Drawn:
    """Draw the mean deposit in depth and around the axis, and the visible energy. Raises UsageError without showers."""
    if len(showers) == 0:
        raise UsageError("plot: expected at least one shower")

    def draw(figure: Any) -> None:
        depth, across, visible = figure.subplots(1, 3)
        _depth(depth, showers)
        _across(across, showers)
        _visible(visible, showers)

    return drawn(draw, (13.5, 4.2))


def _depth(axes: Any, showers: Showers) -> None:
    layers, depths = showers.deposits.sum(axis=(1, 2), dtype=np.float64), layer_depths_mm(showers.grid)
    place = np.arange(showers.grid.n_layers) if depths is None else depths
    _mean(axes, place, layers)
    axes.set_xlabel("Layer" if depths is None else "Depth [mm]")
    axes.set_ylabel("Deposit in a layer [MeV]")
    axes.set_title("Longitudinal profile", **heading("Longitudinal profile"))


def _across(axes: Any, showers: Showers) -> None:
    grid = showers.grid
    if grid.cell_size is None:  # rings need millimetres
        _mean(axes, np.arange(grid.shape[0]), showers.deposits.sum(axis=(2, 3), dtype=np.float64))
        axes.set_xlabel(f"{grid.axes[0]} [cell]")
    else:
        edges = ring_edges(grid)
        _mean(axes, (edges[1:] + edges[:-1]) / 2, Lengths(Image(showers)).rings())
        axes.set_xlabel("Distance from the axis [mm]")
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylabel(
        "Deposit in a ring [MeV]" if grid.cell_size else "Deposit in a cell of this axis [MeV]"
    )
    axes.set_title("Transverse profile", **heading("Transverse profile"))


def _mean(axes: Any, place: NDArray[Any], values_NB: Array) -> None:
    colour, _, marker = look(1)
    error = values_NB.std(axis=0) / np.sqrt(max(1, len(values_NB) - 1))
    axes.errorbar(place, values_NB.mean(axis=0), error, color=colour, marker=marker, markersize=3.5)


def _visible(axes: Any, showers: Showers) -> None:
    colour, _, _ = look(1)
    total, energy = showers.deposits.sum(axis=(1, 2, 3), dtype=np.float64), showers.incident_energy
    if np.ptp(energy) > ONE_ENERGY * energy.max():
        axes.plot(energy, total, ".", color=colour, alpha=0.6)
        axes.locator_params("x", nbins=5)
        axes.set_xlabel("Incident energy [MeV]")
        axes.set_ylabel("Visible energy [MeV]")
    else:
        axes.hist(total, BINS, color=colour, histtype="step")
        axes.set_xlabel("Visible energy [MeV]")
        axes.set_ylabel("Showers")
    axes.set_title("Visible energy", **heading("Visible energy"))
