"""Units, and the spectra that a user writes as text.

Inside the package energies are MeV, lengths mm, angles rad. GeV and degrees exist only at the
command line and in public layouts; they are converted where they enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import UsageError

__all__ = ["DEGREE", "GEV", "Area", "Spectrum"]

GEV = 1000.0
"""One GeV in MeV."""

DEGREE = math.pi / 180.0
"""One degree in rad."""


@dataclass(frozen=True)
class Spectrum:
    """A distribution of energies or angles: uniform, log-uniform, discrete, or a histogram.

    ``values`` are (low, high) for the first two, the allowed values for the third, and low and high of each bin for
    the last, which is uniform within a bin; ``weights`` are those of its bins.
    """

    kind: Literal["uniform", "log", "discrete", "histogram"]
    values: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "histogram":
            low_B, high_B = self._bins.T
            good = np.isfinite(self.values).all() and (low_B > 0).all() and (low_B < high_B).all()
            if not (
                good
                and len(self.weights) == len(low_B) > 0
                and min(self.weights) > 0
                and math.isfinite(sum(self.weights))
            ):
                raise UsageError(
                    "histogram: expected bins with 0 < low < high and finite weights >= 0, not all zero"
                )
            return
        low, high = (*self.values, 0.0, 0.0)[:2]
        bounds = len(self.values) == 2 and low < high and (self.kind == "uniform" or low > 0)
        if not all(map(math.isfinite, self.values)) or not (
            self.values if self.kind == "discrete" else bounds
        ):
            expected = "values" if self.kind == "discrete" else "(low, high)"
            raise UsageError(f"spectrum {self.kind}: expected finite {expected}, got {self.values}")

    @classmethod
    def parse(
        cls, text: str, *, unit: float = 1.0, what: str = "range", signed: bool = False
    ) -> Spectrum:
        """Read ``a:b`` (uniform), ``log:a:b`` (log-uniform), or ``a,b,c`` (discrete).

        Numbers are multiplied by ``unit``. Raises UsageError naming ``what`` when the text is none
        of these, a bound is not finite or (unless ``signed``) not positive, or the bounds are not in order.
        """
        got = repr(text if len(text) <= 60 else text[:60] + "...")
        forms = "a:b or a,b,c with numbers" if signed else "a:b, log:a:b or a,b,c with positive numbers"
        expected = f"{what}: expected {forms}, got {got}"
        kind: Literal["uniform", "log", "discrete"] = "discrete"
        fields = text.split(",")
        if ":" in text:
            kind, fields = "uniform", text.split(":")
            if fields[0].strip() == "log" and not signed:
                kind, fields = "log", fields[1:]
            if len(fields) != 2:
                raise UsageError(expected)
        try:
            values = tuple(float(field) * unit for field in fields)
        except ValueError:
            raise UsageError(expected) from None
        if not all(math.isfinite(value) and (signed or value > 0) for value in values):
            raise UsageError(expected)
        if kind != "discrete" and not values[0] < values[1]:
            raise UsageError(f"{what}: the lower bound must be below the upper one, got {got}")
        return cls(kind, values)

    @property
    def low(self) -> float:
        """Smallest value that can be drawn."""
        return min(self.values)

    @property
    def high(self) -> float:
        """Largest value that can be drawn."""
        return max(self.values)

    def quantile(self, u_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map uniform numbers in [0, 1) to values: the inverse of the cumulative distribution."""
        if self.kind == "histogram":
            share_B = np.cumsum(self.weights) / np.sum(self.weights)
            bin_N = np.minimum(np.searchsorted(share_B, u_N, side="right"), len(share_B) - 1)
            low_N, high_N = self._bins[bin_N].T
            before_B = np.concatenate([[0.0], share_B])
            part_N = (u_N - before_B[bin_N]) / np.diff(before_B)[bin_N]
            return np.asarray(np.clip(low_N + part_N * (high_N - low_N), low_N, high_N))
        if self.kind == "discrete":
            choice = np.minimum((u_N * len(self.values)).astype(np.int64), len(self.values) - 1)
            return np.asarray(self.values, dtype=np.float64)[choice]
        if self.kind == "uniform":
            values = self.low + u_N * (self.high - self.low)
        else:
            values = np.exp(math.log(self.low) + u_N * (math.log(self.high) - math.log(self.low)))
        return np.clip(values, self.low, self.high)  # rounding must not leave the range

    def to_json(self) -> dict[str, object]:
        """Return a JSON-ready form."""
        weights = {"weights": list(self.weights)} if self.weights else {}
        return {"kind": self.kind, "values": list(self.values), **weights}

    @property
    def _bins(self) -> NDArray[np.float64]:
        """Low and high of a histogram's bins, (B, 2)."""
        return np.array(self.values, np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Area:
    """Points spread evenly over a rectangle, from (low, high) in x and in y, mm; a side may have no length."""

    x_mm: tuple[float, float]
    y_mm: tuple[float, float]

    @classmethod
    def parse(cls, text: str, what: str = "area") -> Area:
        """Read ``X,Y``, where each is a position in mm or a range ``a:b``; ``a:b`` alone is a square.

        Raises UsageError naming ``what`` for anything else.
        """
        try:
            sides = [tuple(float(end) for end in side.split(":")) for side in text.split(",")]
            sides = [side * 2 if len(side) == 1 and len(sides) == 2 else side for side in sides]
            (x_low, x_high), (y_low, y_high) = sides * 2 if len(sides) == 1 else sides
            if -math.inf < x_low <= x_high < math.inf and -math.inf < y_low <= y_high < math.inf:
                return cls((x_low, x_high), (y_low, y_high))
        except ValueError:
            pass
        got = repr(text if len(text) <= 60 else text[:60] + "...")
        raise UsageError(f"{what}: expected X,Y in mm, a:b for a square, or a:b,c:d, got {got}")

    def quantile(self, u_N2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map uniform numbers in [0, 1) to points (N, 2)."""
        low, high = np.array([self.x_mm, self.y_mm]).T
        return np.asarray(np.clip(low + u_N2 * (high - low), low, high))

    def to_json(self) -> dict[str, object]:
        """Return a JSON-ready form."""
        return {"x": list(self.x_mm), "y": list(self.y_mm)}
