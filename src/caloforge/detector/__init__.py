"""What a calorimeter is: a read-out grid, and the stacks of material behind it."""

from caloforge.detector.description import Detector, load_detector, shipped_detectors
from caloforge.detector.grid import Grid
from caloforge.detector.layers import Slab

__all__ = ["Detector", "Grid", "Slab", "load_detector", "shipped_detectors"]
