"""3DGAN for showers at a variable angle: the network of the talk's harder geometry.

Source: G. Khattak, S. Vallecorsa, F. Carminati et al., "Fast simulation of a high granularity
calorimeter by generative adversarial networks", Eur. Phys. J. C 82, 386 (2022). On the published
51x51x25 grid the layers are the published ones; another grid gets the smallest network of the same
layers that covers it, cropped. Images hold cells to the power 0.85.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.models.shared.transforms import Transform
from caloforge.models.threedgan.layers import (
    Convolution,
    Crop,
    Discriminator,
    FromCells,
    Normalisation,
    Triple,
    dense,
)
from caloforge.showers.batch import Given

__all__ = [
    "LATENT",
    "POWER",
    "Discriminator3DGANAngle",
    "Generator3DGANAngle",
    "ThreeDGANAngle",
    "measured_angle",
]

LATENT = 256
"""Length of the generator's input: energy / 100 GeV, angle in rad, 254 numbers of noise."""

POWER = 0.85
"""Images hold cell energies to this power, which brings small and large deposits closer."""


class Generator3DGANAngle(nn.Module):
    """Latent vector (B, 256) to image (B, nx, ny, nz); 1,365,047 weights on 51x51x25.

    ``filters`` is 6 as published, or 16 to fill the vector units.
    """

    latent_size = LATENT

    def __init__(self, shape: Triple = (51, 51, 25), *, filters: int = 6) -> None:
        super().__init__()
        x, y, z = shape
        # A dense grid (a, b, c) ends as (6a - 3, 6b - 3, 6c - 23) cells.
        grid = (-(-(x + 3) // 6), -(-(y + 3) // 6), max(-(-(z + 23) // 6), 4))
        a, b, c = grid
        first = max(8, filters)
        layers: list[nn.Module] = [
            dense(LATENT, a * b * c * 8),
            FromCells(grid, 8),
            Convolution(8, first, (6, 6, 8), upsample=(6, 6, 6), init="he_uniform"),
            nn.ReLU(),
            Normalisation(first, eps=1e-6),
        ]
        channels = first
        for kernel, pad in (
            ((4, 4, 6), (2, 2, 1)),
            ((4, 4, 6), (2, 2, 1)),
            ((4, 4, 6), (2, 2, 1)),
            ((3, 3, 5), (1, 1, 0)),
        ):
            layers += [
                Convolution(channels, filters, kernel, pad=[(p, p) for p in pad], init="he_uniform"),
                nn.ReLU(),
                Normalisation(filters, eps=1e-6),
            ]
            channels = filters
        self.layers = nn.Sequential(
            *layers,
            Convolution(filters, filters, (3, 3, 3), pad=((1, 1), (1, 1), (0, 0)), init="he_uniform"),
            nn.ReLU(),
            Convolution(filters, 1, (2, 2, 2), init="glorot_normal"),
            nn.ReLU(),
            Crop(shape),
        )

    def forward(self, z_BL: Tensor) -> Tensor:
        """Map latent vectors (B, 256) to images (B, nx, ny, nz), not negative."""
        image_BXYZ: Tensor = self.layers(z_BL)
        return image_BXYZ


class Discriminator3DGANAngle(Discriminator):
    """Image (B, nx, ny, nz) to logit, energy, angle and sum; 87,402 weights on 51x51x25.

    ``filters`` is 8 as published, or 16. Raises UsageError when the grid is smaller than 2x2x2.
    """

    def __init__(self, shape: Triple = (51, 51, 25), *, filters: int = 8) -> None:
        pads = ((0, 0, 1), (0, 0, 1), (0, 0, 0))
        super().__init__(shape, (5, 6, 6), (16, filters, filters, filters), pads)

    def forward(self, image_BXYZ: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (B,) each: logit of being real, energy / 100 GeV, measured angle (rad), sum of cells.

        The last two are computed from the image to the power 1/0.85, in the units of its cells.
        """
        logit_B, energy_B = self.judge(image_BXYZ)
        cells_BXYZ = image_BXYZ.float() ** (1 / POWER)
        with torch.autocast(cells_BXYZ.device.type, enabled=False):
            return logit_B, energy_B, measured_angle(cells_BXYZ), cells_BXYZ.sum(dim=(1, 2, 3))


class ThreeDGANAngle(ShowerModel):
    """``3dgan-angle``: energy and angle stand beside 254 normal numbers.

    Its images hold (50 x GeV) to the power 0.85.
    """

    follows = frozenset(["incident_theta"])

    def __init__(self, grid: Grid, threshold_MeV: float, *, filters: int = 6) -> None:
        super().__init__()
        self.grid, self.threshold_MeV = grid, threshold_MeV
        self.transform = Transform(50 / GEV, POWER)
        self.network = Generator3DGANAngle(grid.shape, filters=filters)
        self.noise_size = self.network.latent_size - 2

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make images (B, nx, ny, nz)."""
        conditions_B2 = torch.stack((given.energy_B / (100 * GEV), given.theta_B), dim=1)
        image_BXYZ: Tensor = self.network(torch.cat((conditions_B2, noise_BL), dim=1))
        return image_BXYZ


def measured_angle(cells_BXYZ: Tensor) -> Tensor:
    """Measure the angle (B,) in rad of showers to the face, in the y-z plane; differentiable.

    The same quantity as :func:`caloforge.observables.definitions.measured_angle`, except that a shower
    in which no layer has a direction is at normal incidence, so that every value and gradient is finite.
    """
    x_X, y_Y, z_Z = (
        torch.arange(size, dtype=cells_BXYZ.dtype, device=cells_BXYZ.device)
        for size in cells_BXYZ.shape[1:]
    )
    sum_BZ = cells_BXYZ.sum(dim=(1, 2))
    # One in place of zero keeps every quotient, and so every gradient, finite.
    layer_BZ = torch.where(sum_BZ > 0, sum_BZ, 1.0)
    sum_B1 = sum_BZ.sum(dim=1, keepdim=True)
    total_B1 = torch.where(sum_B1 > 0, sum_B1, 1.0)

    x_BZ = torch.einsum("bxyz,x->bz", cells_BXYZ, x_X)
    y_BZ = torch.einsum("bxyz,y->bz", cells_BXYZ, y_Y)
    dx_BZ = x_BZ / layer_BZ - x_BZ.sum(dim=1, keepdim=True) / total_B1
    dy_BZ = y_BZ / layer_BZ - y_BZ.sum(dim=1, keepdim=True) / total_B1
    dz_BZ = z_Z - (sum_BZ * z_Z).sum(dim=1, keepdim=True) / total_B1

    squared_BZ = dx_BZ.square() + dz_BZ.square()
    seen_BZ = (sum_BZ > 0) & (squared_BZ > 1e-12)
    slope_BZ = torch.where(dz_BZ < 0, -dy_BZ, dy_BZ) / torch.where(seen_BZ, squared_BZ, 1.0).sqrt()
    theta_BZ = math.pi / 2 - torch.atan(slope_BZ)
    weight_BZ = torch.where(seen_BZ, z_Z, 0.0)
    weight_B = weight_BZ.sum(dim=1)
    angle_B = (weight_BZ * theta_BZ).sum(dim=1) / torch.where(weight_B > 0, weight_B, 1.0)
    return torch.where(weight_B > 0, angle_B, math.pi / 2)
