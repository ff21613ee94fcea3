"""What is compared with what, for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from caloforge.detector import Grid
from caloforge.foundations.units import GEV
from caloforge.models.shared.transforms import Transform
from caloforge.models.threedgan.family import FIXED_ANGLE, PublishedConfig, Sizes3DGAN
from caloforge.models.threedgan.fixed_angle import ThreeDGAN
from caloforge.showers import Domain

__all__ = ["ABLATIONS", "FAMILY_IN_GEV", "IN_GEV", "Ablation"]

IN_GEV = "3dgan in GeV"


class ThreeDGANInGeV(ThreeDGAN):
    """``3dgan`` with images in GeV, as in the original code, in place of 50 x GeV."""

    def __init__(self, grid: Grid, threshold_MeV: float, **sizes: int) -> None:
        super().__init__(grid, threshold_MeV, **sizes)
        self.transform = Transform(1 / GEV)


class _Config(PublishedConfig):
    model: Literal["3dgan in GeV"] = "3dgan in GeV"
    architecture: Sizes3DGAN = Sizes3DGAN()


def _generator(grid: Grid, threshold_MeV: float, sizes: Sizes3DGAN, _domain: Domain) -> ThreeDGAN:
    return ThreeDGANInGeV(grid, threshold_MeV, filters=sizes.filters, latent=sizes.latent)


FAMILY_IN_GEV = replace(FIXED_ANGLE, settings=_Config, generator=_generator)


@dataclass(frozen=True)
class Ablation:
    """A question, the networks that answer it, the core-seconds that each is trained, and the figure's numbers."""

    question: str
    arms: tuple[str, ...]
    core_seconds: float
    shown: tuple[str, ...]


ABLATIONS = {
    "filters": Ablation(
        "Filters in multiples of 16: what do they cost, and what are they worth?",
        ("3dgan", "3dgan-x16"),
        150,
        ("step_ms", "score", "adjusted_ratio.sampling_fraction", "auc.low"),
    ),
    "units": Ablation(
        "Images of 3dgan in GeV or in 50 x GeV: do the weights live?",
        ("3dgan", IN_GEV),
        150,
        ("empty", "score", "mean_ratio.hits", "adjusted_ratio.sampling_fraction"),
    ),
    "designs": Ablation(
        "Designs at equal training time: which showers are nearest to Geant4's?",
        ("copula", "mixer", "mixer-gan", "3dgan"),
        240,
        ("auc.low", "auc.high", "shape.z.mean_rel_error", "ms_128"),
    ),
}
"""By name; seconds are those of the committed results."""
