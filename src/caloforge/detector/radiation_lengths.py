"""How deep layers lie in radiation lengths, from the materials that a grid says."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from caloforge.detector.grid import Grid
from caloforge.detector.layers import read_stacks, sensitive_depths

__all__ = ["depths_X0", "radiation_lengths_mm"]


@cache
def radiation_lengths_mm() -> Mapping[str, float]:
    """Read the radiation lengths of materials by their Geant4 (NIST) names, mm."""
    text = (resources.files("caloforge.detector") / "radiation_lengths.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def depths_X0(grid: Grid) -> tuple[float, ...] | None:
    """Return how far below the face the middle of each layer's sensitive plates lies, in radiation lengths.

    None where a grid does not say what its layers are made
    of, or of something whose radiation length is not known here.
    """
    lengths = radiation_lengths_mm()
    stacks = read_stacks(grid.extra.get("layer_stacks"), grid.n_layers)
    if stacks is None or any(slab.material not in lengths for stack in stacks for slab in stack.slabs):
        return None
    return tuple(sensitive_depths(stacks, lengths))
