"""The study's figure: which requirement finds which distortion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.comparison.requirements import load_requirements
from caloforge.foundations.durable import atomic_path
from caloforge.report.plots.draw import picture

__all__ = ["draw"]


def draw(path: Path, result: Mapping[str, Any]) -> None:
    """Draw distortions against requirements: the smallest distortion found, over the one that the table names."""
    rows = result["rows"]
    size = list(rows[0]["smallest"])[-1]
    found = {title for row in rows for title in row["smallest"][size]}
    titles = [each.title for each in load_requirements() if each.title in found]
    ratio = np.array(
        [[row["smallest"][size].get(title, np.nan) / row["size"] for title in titles] for row in rows]
    )

    def fill(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.grid(visible=False)
        image = axes.imshow(np.log10(ratio), cmap="viridis", vmin=-1, vmax=1, aspect="auto")
        axes.set_xticks(range(len(titles)), titles, rotation=60, ha="right", fontsize=8)
        axes.set_yticks(range(len(rows)), [row["title"] for row in rows], fontsize=8)
        for i, j in zip(*np.nonzero(np.isfinite(ratio)), strict=True):
            dark = ratio[i, j] < 1
            text = f"{ratio[i, j]:.2g}"
            axes.text(
                j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "black"
            )
        bar = figure.colorbar(image, ticks=[-1, 0, 1])
        bar.ax.set_yticklabels(["0.1", "1", "10"])
        bar.set_label(f"smallest found / size, {int(size):,} showers a side")

    content = picture(fill, (11, 6))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
