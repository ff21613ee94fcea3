"""What electronics make of deposits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from caloforge.detector.layers import Strict

__all__ = ["Digitisation"]


class Digitisation(Strict):
    """What electronics make of a cell's deposit: noise is added, saturation cuts, and what is below the threshold is zero."""

    mip_MeV: Annotated[float, Field(gt=0, lt=1e6)]
    threshold_mip: Annotated[float, Field(ge=0, lt=1e6)] = 0.0
    noise_MeV: Annotated[float, Field(ge=0, lt=1e6)] = 0.0
    saturation_MeV: Annotated[float, Field(gt=0, lt=1e9)] | None = None
