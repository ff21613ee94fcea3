"""3DGAN for showers at a fixed angle: the network of the CERN openlab talk of 2019.

Source: F. Carminati, G. Khattak, S. Vallecorsa et al., "Three dimensional energy parametrized
generative adversarial networks for electromagnetic shower simulation", ICIP 2019. On the published
25x25x25 grid the layers are the published ones; another grid gets the smallest network of the same
layers that covers it, cropped.
"""

from __future__ import annotations

from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.models.shared.transforms import Transform
from caloforge.models.threedgan.layers import (
    LEAK,
    Convolution,
    Crop,
    Discriminator,
    FromCells,
    Normalisation,
    Triple,
    dense,
    same,
)
from caloforge.showers.batch import Given

__all__ = ["LATENT", "Discriminator3DGAN", "Generator3DGAN", "ThreeDGAN"]

LATENT = 200
"""Length of the generator's input: E' x noise, with E' the primary energy in units of 100 GeV."""


class Generator3DGAN(nn.Module):
    """Latent vector (B, 200) to image (B, nx, ny, nz); 872,948 weights on 25x25x25.

    ``filters`` is 6 as published, or 16 to fill the vector units (1,042,528 weights); ``latent`` is the
    length of the input, 200 as published.
    """

    def __init__(self, shape: Triple = (25, 25, 25), *, filters: int = 6, latent: int = LATENT) -> None:
        super().__init__()
        self.latent_size = latent
        x, y, z = shape
        # A dense grid (a, b, c) ends as (4a - 3, 4b - 3, 6c - 23) cells.
        grid = (-(-(x + 3) // 4), -(-(y + 3) // 4), max(-(-(z + 23) // 6), 4))
        a, b, c = grid
        self.layers = nn.Sequential(
            dense(latent, a * b * c * 8),
            FromCells(grid, 8),
            Convolution(8, 64, (6, 6, 8), pad=same((6, 6, 8)), init="he_uniform"),
            nn.LeakyReLU(LEAK),
            Normalisation(64),
            Convolution(
                64,
                filters,
                (6, 5, 8),
                upsample=(2, 2, 2),
                pad=((2, 2), (2, 2), (0, 0)),
                init="he_uniform",
            ),
            nn.LeakyReLU(LEAK),
            Normalisation(filters),
            Convolution(
                filters,
                filters,
                (3, 3, 8),
                upsample=(2, 2, 3),
                pad=((1, 1), (0, 0), (3, 3)),
                init="he_uniform",
            ),
            nn.LeakyReLU(LEAK),
            Convolution(filters, 1, (2, 2, 2), bias=False, init="glorot_normal"),
            nn.ReLU(),
            Crop(shape),
        )

    def forward(self, z_BL: Tensor) -> Tensor:
        """Map latent vectors (B, latent) to images (B, nx, ny, nz), not negative."""
        image_BXYZ: Tensor = self.layers(z_BL)
        return image_BXYZ


class Discriminator3DGAN(Discriminator):
    """Image (B, nx, ny, nz) to real-or-fake logit, energy and sum; 73,450 weights on 25x25x25.

    ``filters`` is 8 as published, or 16 (174,866 weights). Raises UsageError when the grid is
    smaller than 2x2x2.
    """

    def __init__(self, shape: Triple = (25, 25, 25), *, filters: int = 8) -> None:
        pads = ((2, 2, 2), (2, 2, 2), (1, 1, 1))
        super().__init__(shape, (5, 5, 5), (32, filters, filters, filters), pads)

    def forward(self, image_BXYZ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B,) each: logit of being real, primary energy / 100 GeV, sum of all cells."""
        logit_B, energy_B = self.judge(image_BXYZ)
        return logit_B, energy_B, image_BXYZ.float().sum(dim=(1, 2, 3))


class ThreeDGAN(ShowerModel):
    """``3dgan``: the primary energy, in units of 100 GeV, multiplies 200 normal numbers.

    Its images hold 50 x GeV, as the published data for variable angles do.
    """

    def __init__(
        self, grid: Grid, threshold_MeV: float, *, filters: int = 6, latent: int = LATENT
    ) -> None:
        super().__init__()
        self.grid, self.threshold_MeV = grid, threshold_MeV
        # In GeV the output layer dies within the first steps: weights of usual size make showers a
        # thousand times too bright, and what corrects them drives every inner cell below zero.
        self.transform = Transform(50 / GEV)
        self.network = Generator3DGAN(grid.shape, filters=filters, latent=latent)
        self.noise_size = latent

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make images (B, nx, ny, nz) in 50 x GeV; the energy alone changes them."""
        image_BXYZ: Tensor = self.network(noise_BL * (given.energy_B / (100 * GEV))[:, None])
        return image_BXYZ
