"""How deep layers lie in radiation lengths, from the materials that a grid says."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from itertools import chain

from caloforge.detector.description import LayerStack
from caloforge.detector.grid import Grid

__all__ = ["depths_X0", "radiation_lengths_mm"]


@cache
def radiation_lengths_mm() -> Mapping[str, float]:
    """Read the radiation lengths of materials by their Geant4 (NIST) names, mm."""
    text = (resources.files("caloforge.detector") / "radiation_lengths.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def depths_X0(grid: Grid) -> tuple[float, ...] | None:
    """Return how far below the face the middle of each layer's sensitive plates lies, in radiation lengths.

    Of several plates in one layer the mean by thickness. None where a grid does not say what its layers are made of, or of something whose radiation length
    is not known here.
    """
    lengths, depth = radiation_lengths_mm(), 0.0
    depths: list[float] = []
    try:
        stacks = [LayerStack.model_validate(stack) for stack in _stacks(grid)]
        if sum(stack.repeat for stack in stacks) != grid.n_layers:
            return None
        for stack in chain.from_iterable([it] * it.repeat for it in stacks):
            seen_mm = sum(slab.thickness_mm for slab in stack.slabs if slab.sensitive)
            depths.append(0.0)
            for slab in stack.slabs:
                thickness = slab.thickness_mm / lengths[slab.material]
                if slab.sensitive:
                    depths[-1] += (depth + thickness / 2) * slab.thickness_mm / seen_mm
                depth += thickness
    except (TypeError, ValueError, LookupError):  # what a file says of its materials is anybody's
        return None
    return tuple(depths)


def _stacks(grid: Grid) -> Iterable[object]:
    """Return a grid's stacks of layers: as a detector writes them, or from one layer's list of plates.

    Such a plate is ``[material, thickness in mm]``, with "sensitive" after them in one of them.
    """
    if "layer_stacks" in grid.extra:
        stacks: Iterable[object] = grid.extra["layer_stacks"]
        return stacks
    slabs = [
        {"material": material, "thickness_mm": thickness, "sensitive": "sensitive" in marks}
        for material, thickness, *marks in grid.extra["layer_stack"]
    ]
    return [{"repeat": grid.n_layers, "slabs": slabs}]
