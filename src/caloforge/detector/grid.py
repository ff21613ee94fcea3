"""The read-out grid: what an array of deposits means."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from caloforge.errors import CaloforgeError

__all__ = ["CARTESIAN", "CYLINDRICAL", "Grid"]

CARTESIAN = ("x", "y", "z")
CYLINDRICAL = ("r", "phi", "layer")

MAX_CELLS = 1 << 24
"""A grid above this is taken for a mistake: a shower of it would need 64 MiB."""


@dataclass(frozen=True)
class Grid:
    """The cells of a read-out, three axes: two across the shower, the last one in depth.

    ``cell_size`` holds the size across of one cell along the first two axes (mm; the second is rad
    on a cylindrical grid), or None where a public layout does not say. ``layer_pitch_mm`` is the
    distance between two layers. ``threshold_MeV`` is the read-out threshold: deposits below are
    not seen. ``extra`` keeps what else the file said of its detector (materials, binning).
    """

    name: str
    shape: tuple[int, int, int]
    axes: tuple[str, str, str] = CARTESIAN
    cell_size: tuple[float, float] | None = None
    layer_pitch_mm: float | None = None
    threshold_MeV: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.axes not in (CARTESIAN, CYLINDRICAL):
            raise CaloforgeError(
                f"detector {self.name!r}, field axes: expected {list(CARTESIAN)} or "
                f"{list(CYLINDRICAL)}, got {list(self.axes)}"
            )
        if min(self.shape) < 1 or math.prod(self.shape) > MAX_CELLS:
            raise CaloforgeError(
                f"detector {self.name!r}, field shape: expected three positive numbers of cells, "
                f"at most {MAX_CELLS} in all, got {list(self.shape)}"
            )

    @property
    def n_cells(self) -> int:
        """Number of cells of one shower."""
        return math.prod(self.shape)

    @property
    def n_layers(self) -> int:
        """Number of layers in depth."""
        return self.shape[2]

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
        """Whether showers on both grids can be compared cell by cell."""
        return self.shape == other.shape and self.axes == other.axes

    def to_json(self) -> dict[str, Any]:
        """Give the form that a shower file's ``detector`` attribute holds."""
        size_key = "cell_size_mm" if self.cartesian else "cell_size_mm_rad"
        known = {
            "name": self.name,
            "axes": list(self.axes),
            "shape": list(self.shape),
            "layers": self.n_layers,
            size_key: None if self.cell_size is None else list(self.cell_size),
            "layer_pitch_mm": self.layer_pitch_mm,
            "threshold_MeV": self.threshold_MeV,
        }
        return {**self.extra, **known}

    @classmethod
    def from_json(cls, data: object, *, shape: tuple[int, ...] | None = None) -> Grid:
        """Read the form of :meth:`to_json`; ``shape`` is what the data has, if it is known.

        Raises CaloforgeError naming the field that is missing, wrong, or unlike the data.
        """
        if not isinstance(data, dict):
            raise CaloforgeError("detector: expected a JSON object")
        fields = dict(data)
        name = fields.pop("name", None)
        if not isinstance(name, str) or not name:
            raise CaloforgeError("detector, field name: expected a text")
        declared = fields.pop("shape", None if shape is None else list(shape))
        axes = fields.pop("axes", list(CARTESIAN))
        mm, mm_rad = fields.pop("cell_size_mm", None), fields.pop("cell_size_mm_rad", None)
        size = mm_rad if mm is None else mm
        pitch = fields.pop("layer_pitch_mm", None)
        threshold = fields.pop("threshold_MeV", 0.0)
        fields.pop("layers", None)
        try:
            n_1, n_2, n_layers = declared
            axis_1, axis_2, axis_3 = axes
            grid = cls(
                name=name,
                shape=(int(n_1), int(n_2), int(n_layers)),
                axes=(str(axis_1), str(axis_2), str(axis_3)),
                cell_size=None if size is None else (float(size[0]), float(size[1])),
                layer_pitch_mm=None if pitch is None else float(pitch),
                threshold_MeV=float(threshold),
                extra=fields,
            )
        except (TypeError, ValueError, IndexError):
            raise CaloforgeError(
                f"detector {name!r}: expected shape, axes, cell_size_mm, layer_pitch_mm and "
                "threshold_MeV to be numbers (texts for axes)"
            ) from None
        if shape is not None and grid.shape != tuple(shape):
            raise CaloforgeError(
                f"detector {name!r}, field shape: {list(grid.shape)}, but the showers have {list(shape)}"
            )
        return grid
