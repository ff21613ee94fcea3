"""What a calorimeter is: a read-out grid, and the stacks of material behind it."""

from caloforge.detector.description import (
    Detector,
    Slab,
    load_detector,
    shipped_detectors,
)
from caloforge.detector.grid import Grid

__all__ = ["Detector", "Grid", "Slab", "load_detector", "shipped_detectors"]
