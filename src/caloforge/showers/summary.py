"""What showers are, in a line or in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.texts import printable
from caloforge.showers.particles import name_of

if TYPE_CHECKING:
    from caloforge.showers.showers import Showers

__all__ = ["as_html", "as_line"]

NAMED = 4
"""So many particles are named."""


def as_line(showers: Showers) -> str:
    """Return the facts between brackets."""
    count, *facts = _facts(showers).values()
    return f"<Showers: {count} of {'; '.join(facts)}>"


def as_html(showers: Showers) -> str:
    """Return the facts as a table."""
    rows = (f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in _facts(showers).items())
    return f"<table>{''.join(rows)}</table>"


def _facts(showers: Showers) -> dict[str, str]:
    grid, given = showers.grid, showers.conditions
    shape = " x ".join(map(str, grid.shape))
    facts = {
        "showers": f"{len(showers):,}",
        "detector": f"{printable(grid.name)}, {shape} cells ({', '.join(grid.axes)})",
    }
    if len(showers) == 0:
        return facts
    particles = [name_of(int(pdg)) for pdg in np.unique(given.particle)]
    more = f" and {len(particles) - NAMED} more" if len(particles) > NAMED else ""
    return facts | {
        "particle": ", ".join(particles[:NAMED]) + more,
        "incident energy": f"{_span(given.incident_energy)} MeV",
        "theta": f"theta {_span(given.incident_theta)} rad",
        **({} if given.incident_phi is None else {"phi": f"phi {_span(given.incident_phi)} rad"}),
    }


def _span(values: NDArray[Any]) -> str:
    """Write a range, or the one value that it is."""
    ends = (float(values.min()), float(values.max()))
    return " to ".join(dict.fromkeys(f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.4g}" for v in ends))
