"""The one look of all plots: colours, lines, sizes of text."""

from __future__ import annotations

from typing import Any

__all__ = ["BAND", "REFERENCE", "STYLE", "THIN", "fitted", "heading", "look", "plain"]

REFERENCE = "#1a1a1a"
BAND = "#c9c9c9"
CANDIDATES: Any = (
    ("#d1480f", "-", "o"),
    ("#0072b2", (0, (5, 1.5)), "s"),
    ("#009e73", (0, (5, 1.5, 1, 1.5)), "D"),
    ("#b4559b", (0, (1.5, 1)), "P"),
    ("#3aa0d8", (0, (8, 2)), "X"),
    ("#c98a00", (0, (3, 1, 1, 1, 1, 1)), "*"),
)
"""Colour, line and marker of each candidate, told apart by colour-blind eyes too (Okabe and Ito)."""

THIN: Any = {
    "color": "#555555",
    "fontsize": 9.5,
    "style": "italic",
    "ha": "right",
    "va": "bottom",
    "zorder": 6,
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
}
"""How it is said that something rests on few showers."""

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 12,
    "axes.linewidth": 0.9,
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.09,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "grid.color": "#ececec",
    "grid.linewidth": 0.7,
    "hatch.color": "#d9d9d9",
    "hatch.linewidth": 1.0,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 1.6,
    "xtick.direction": "in",
    "xtick.top": True,
    "ytick.direction": "in",
    "ytick.right": True,
}


def plain(label: str) -> str:
    """Keep matplotlib from reading a label as mathematics, or as one to hide."""
    text = label.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def look(index: int) -> tuple[str, Any, str]:
    """Return colour, line and marker of a candidate, counted from 0."""
    look: tuple[str, Any, str] = CANDIDATES[index % len(CANDIDATES)]
    return look


def fitted(text: str, size: float, room: int) -> float:
    """Return a font size at which a text fits where ``room`` characters have this ``size``."""
    return size if len(text) <= room else max(7.0, size * room / len(text))


def heading(title: str, room: int = 44) -> dict[str, Any]:
    """Style a title; long ones are smaller."""
    return {"weight": "bold", "fontsize": fitted(title, 11.5, room)}
