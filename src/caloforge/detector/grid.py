"""The read-out grid: what an array of deposits means."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NoReturn

from caloforge.detector.file_keys import CARTESIAN, CYLINDRICAL, MAX_CELLS, MAX_NAME, read_keys
from caloforge.detector.layers import positions_mm, read_stacks, stacks_of_plates
from caloforge.foundations.errors import CaloforgeError

__all__ = ["CARTESIAN", "CYLINDRICAL", "Grid"]

KNOWN = frozenset(("name", "axes", "shape", "layers", "cell_size_mm", "cell_size_mm_rad"))
KNOWN |= {"layer_pitch_mm", "layer_centres_mm", "threshold_MeV"}
"""Keys of a file that are fields of a grid; the others are its ``extra``."""


@dataclass(frozen=True)
class Grid:
    """The cells of a read-out, three axes: two across the shower, the last one in depth.

    ``cell_size`` holds the size across of one cell along the first two axes (mm; the second is rad
    on a cylindrical grid), or None where a public layout does not say. ``layer_pitch_mm`` is the
    distance between two layers that follow each other from the face on; for others ``layer_centres_mm`` are
    the depths of their middles below the face. ``threshold_MeV`` is the read-out threshold: deposits below
    are not seen. ``extra`` keeps what else the file said of its detector (materials, binning).
    """

    name: str
    shape: tuple[int, int, int]
    axes: tuple[str, str, str] = CARTESIAN
    cell_size: tuple[float, float] | None = None
    layer_pitch_mm: float | None = None
    layer_centres_mm: tuple[float, ...] | None = None
    threshold_MeV: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= MAX_NAME:
            limit = f"expected a text of 1 to {MAX_NAME} characters, got {len(self.name)}"
            raise CaloforgeError(f"detector, field name: {limit}")
        if self.axes not in (CARTESIAN, CYLINDRICAL):
            self._refuse("axes", f"{list(CARTESIAN)} or {list(CYLINDRICAL)}", self.axes)
        if min(self.shape) < 1 or math.prod(self.shape) > MAX_CELLS:
            limit = f"three positive numbers of cells, at most {MAX_CELLS} in all"
            self._refuse("shape", limit, list(self.shape))
        if self.cell_size is not None and not all(0 < size < math.inf for size in self.cell_size):
            self._refuse(self._size_key, "two positive numbers", list(self.cell_size))
        if self.layer_pitch_mm is not None and not 0 < self.layer_pitch_mm < math.inf:
            self._refuse("layer_pitch_mm", "a positive number", self.layer_pitch_mm)
        if self.layer_centres_mm is not None:
            edges = (0.0, *self.layer_centres_mm, math.inf)
            rising = all(low < high for low, high in pairwise(edges))
            if not rising or len(self.layer_centres_mm) != self.n_layers or self.layer_pitch_mm:
                limit = f"{self.n_layers} increasing depths, and no layer_pitch_mm"
                self._refuse("layer_centres_mm", limit, list(self.layer_centres_mm))
        if not 0 <= self.threshold_MeV < math.inf:
            self._refuse("threshold_MeV", "a number >= 0", self.threshold_MeV)

    def _refuse(self, name: str, expected: str, found: object) -> NoReturn:
        got = str(found)[:60]
        raise CaloforgeError(f"detector {self.name!r}, field {name}: expected {expected}, got {got}")

    @property
    def _size_key(self) -> str:
        return "cell_size_mm" if self.cartesian else "cell_size_mm_rad"

    @property
    def n_cells(self) -> int:
        """Number of cells of one shower."""
        return math.prod(self.shape)

    @property
    def n_layers(self) -> int:
        """Number of layers in depth."""
        return self.shape[2]

    @property
    def depths_mm(self) -> tuple[float, ...] | None:
        """Depths of the layers' middles below the face, or None where they are not known."""
        if self.layer_pitch_mm is None:
            return self.layer_centres_mm
        return tuple((layer + 0.5) * self.layer_pitch_mm for layer in range(self.n_layers))

    @property
    def cartesian(self) -> bool:
        """Whether the first two axes are x and y (else r and phi)."""
        return self.axes == CARTESIAN

    @property
    def square(self) -> bool:
        """Whether exchanging x and y leaves the grid as it is."""
        same_size = self.cell_size is None or self.cell_size[0] == self.cell_size[1]
        return self.cartesian and self.shape[0] == self.shape[1] and same_size

    def same_cells(self, other: Grid) -> bool:
        """Tell whether showers on both grids can be compared cell by cell."""
        return self.shape == other.shape and self.axes == other.axes

    def to_json(self) -> dict[str, Any]:
        """Return the form that a shower file's ``detector`` attribute holds."""
        known: dict[str, Any] = {
            "name": self.name,
            "axes": list(self.axes),
            "shape": list(self.shape),
            "layers": self.n_layers,
            self._size_key: None if self.cell_size is None else list(self.cell_size),
            "layer_pitch_mm": self.layer_pitch_mm,
            "threshold_MeV": self.threshold_MeV,
        }
        if self.layer_centres_mm is not None:
            known["layer_centres_mm"] = list(self.layer_centres_mm)
        return {**self.extra, **known}

    @classmethod
    def from_json(cls, data: object, *, shape: tuple[int, ...] | None = None) -> Grid:
        """Read the form of :meth:`to_json`; ``shape`` is what the data has, if it is known.

        Files of before say the same in other words: ``layer_stack`` and ``transverse_margin_mm``; where they
        do not say where the layers lie, that follows from the plates.

        Raises CaloforgeError naming the field that is missing, wrong, or unlike the data.
        """
        if not isinstance(data, dict):
            raise CaloforgeError("detector: expected a JSON object")
        name = data.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            raise CaloforgeError(f"detector, field name: expected a text of 1 to {MAX_NAME} characters")
        told = read_keys(data, f"detector {name!r}")
        declared = told.shape or shape
        if declared is None:
            raise CaloforgeError(f"detector {name!r}, field shape is missing")
        axes = tuple(told.axes)
        size = told.cell_size_mm if axes == CARTESIAN else told.cell_size_mm_rad
        extra = {key: value for key, value in data.items() if key not in KNOWN}
        pitch, centres = told.layer_pitch_mm, told.layer_centres_mm
        _in_todays_words(extra, declared[2])
        if (
            pitch is None
            and centres is None
            and (stacks := read_stacks(extra.get("layer_stacks"), declared[2]))
        ):
            pitch, centres = positions_mm(stacks)
        grid = cls(
            name=name,
            shape=(declared[0], declared[1], declared[2]),
            axes=axes,
            cell_size=size,
            layer_pitch_mm=pitch,
            layer_centres_mm=centres,
            threshold_MeV=told.threshold_MeV or 0.0,
            extra=extra,
        )
        if shape is not None and grid.shape != tuple(shape):
            raise CaloforgeError(
                f"detector {name!r}, field shape: {list(grid.shape)}, but the showers have {list(shape)}"
            )
        if told.layers not in (None, grid.n_layers):
            raise CaloforgeError(
                f"detector {name!r}, field layers: {told.layers}, but the shape is {list(grid.shape)}"
            )
        return grid


def _in_todays_words(extra: dict[str, Any], n_layers: int) -> None:
    """Put what the first files said of a detector's material into the words that are written today."""
    stacks = stacks_of_plates(extra.get("layer_stack"), n_layers)
    if stacks is not None and "layer_stacks" not in extra:
        del extra["layer_stack"]
        extra["layer_stacks"] = stacks
    if "margin_mm" not in extra and "transverse_margin_mm" in extra:
        extra["margin_mm"] = extra.pop("transverse_margin_mm")
