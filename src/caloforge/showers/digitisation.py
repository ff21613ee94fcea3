"""From deposits to what the electronics of a detector read out of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caloforge.detector import Grid
from caloforge.detector.electronics import Digitisation
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import stream
from caloforge.foundations.texts import fill
from caloforge.showers.showers import Showers

__all__ = ["Digitiser"]


@dataclass(frozen=True)
class Digitiser:
    """Digitises showers as a detector's ``digitise`` says; the noise of shower i follows from the seed and i."""

    settings: Digitisation
    seed: int

    @classmethod
    def of(cls, grid: Grid, seed: int) -> Digitiser:
        """Take the settings that a grid carries. Raises UsageError where it carries none, or is digitised already."""
        told = grid.extra.get("digitise")
        if told is None:
            raise UsageError(f"--digitise: detector {grid.name!r} has no digitise in its description")
        if grid.extra.get("digitised"):
            raise UsageError(f"--digitise: showers of {grid.name!r} are digitised already")
        return cls(fill(Digitisation, told, f"detector {grid.name!r}, field digitise"), seed)

    def grid(self, grid: Grid) -> Grid:
        """Mark a grid, so that nobody digitises its showers again."""
        return replace(grid, extra={**grid.extra, "digitised": True})

    def provenance(self) -> dict[str, Any]:
        """Return the record for a file."""
        return {"digitise": self.settings.model_dump(mode="json", exclude_none=True)}

    def __call__(self, showers: Showers, first: int) -> Showers:
        """Digitise the showers ``first``, ``first + 1``, ... of a file."""
        it, deposits = self.settings, showers.deposits
        if it.noise_MeV:
            deposits = deposits.copy()
            for row, cells in enumerate(deposits, first):
                noise = stream(self.seed, "digitise", row).standard_normal(cells.shape, np.float32)
                np.maximum(cells + np.float32(it.noise_MeV) * noise, 0, out=cells)
        if it.saturation_MeV is not None:
            deposits = np.minimum(deposits, np.float32(it.saturation_MeV))
        return replace(showers, deposits=deposits, grid=self.grid(showers.grid)).above(
            it.threshold_mip * it.mip_MeV
        )
