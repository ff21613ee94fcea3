"""The cells around the axis where a shower is largest: networks for them are small enough for a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import write

__all__ = ["CORES", "write_core"]

CORES = {
    "5x5x8": (slice(10, 15), slice(10, 15), slice(8, 16)),
    "9x9x11": (slice(8, 17), slice(8, 17), slice(6, 17)),
}
"""Cells of ``clic-ecal`` by their number; they hold 48 % and 62 % of what showers of 10-500 GeV deposit."""


def write_core(path: Path, source: Path, core: str) -> Path:
    """Write the core of a file's showers (25x25x25 cells) as another file."""
    with ShowerFile(source) as file:
        showers = file.read(0, len(file))
    cells = CORES[core]
    x, y, z = (part.stop - part.start for part in cells)
    grid = replace(showers.grid, name=f"{showers.grid.name} {core}", shape=(x, y, z))
    write(path, replace(showers, deposits=showers.deposits[:, *cells].copy(), grid=grid))
    return path
