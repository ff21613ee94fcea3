"""Hits of showers: cells with a deposit as columns, for analysis. The only module that imports awkward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caloforge.detector.positions import cell_positions_mm
from caloforge.foundations.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    import awkward as ak

    from caloforge.showers.showers import Showers

__all__ = ["HIT_UNITS", "awkward_hits", "condition_columns", "hit_columns"]

Columns = dict[str, NDArray[Any]]

HIT_UNITS = {"x": "mm", "y": "mm", "z": "mm", "energy": "MeV"}
"""What else a hit has is the number of its cell along each axis."""


def hit_columns(showers: Showers) -> tuple[NDArray[np.int64], Columns]:
    """Return the number of hits of each shower (N,), and columns over all hits, shower by shower.

    Columns are the cell's number along each axis (``ix``, ``iy``, ``iz`` or ``ir``, ``iphi``, ``ilayer``), ``x``, ``y``,
    ``z`` in mm as in :func:`~caloforge.detector.positions.cell_positions_mm` where the grid knows them, and ``energy`` in MeV.
    """
    shower, *cell = np.nonzero(showers.deposits)
    counts = np.bincount(shower, minlength=len(showers))
    columns: Columns = {
        f"i{axis}": index.astype(np.int32) for axis, index in zip(showers.grid.axes, cell, strict=True)
    }
    try:
        places = cell_positions_mm(showers.grid)
    except UsageError:
        places = None
    if places is not None:
        found = (place[tuple(cell)].astype(np.float32) for place in places)
        columns |= dict(zip(("x", "y", "z"), found, strict=True))
    columns["energy"] = showers.deposits[(shower, *cell)]
    return counts, columns


def condition_columns(showers: Showers) -> Columns:
    """Return the conditions that showers have, a column each; the impact point becomes two."""
    columns = showers.conditions.columns()
    if (impact := columns.pop("impact_xy", None)) is not None:
        columns |= {"impact_x": impact[:, 0], "impact_y": impact[:, 1]}
    return columns


def awkward_hits(showers: Showers) -> ak.Array:
    """Return one record a shower: ``hits``, jagged, and the conditions. Raises MissingExtraError without awkward."""
    try:
        import awkward as ak
    except ImportError:
        raise MissingExtraError("hits as a jagged array", "awkward") from None
    counts, columns = hit_columns(showers)
    hits = ak.zip({name: ak.unflatten(values, counts) for name, values in columns.items()})
    return ak.zip({"hits": hits, **condition_columns(showers)}, depth_limit=1)
