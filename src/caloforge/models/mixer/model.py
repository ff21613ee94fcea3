"""A shower in two steps: energies of the layers by a tiny network, then each layer's shape by a mixer over patches.

The logarithms of the total deposit's share of the incident energy and of the layers' shares of the total get
marginals fitted in closed form (:mod:`caloforge.models.mixer.layer_energies`) and latent normals with their
correlations, which a small network moves. The shape's network sees these normals, the impact point and latent noise; the face is cut into patches whose tokens hold all layers. It gives each cell a location and a width on
the scale ``ln(1 + deposit / unit)``, to which noise of the cell's own is added. What falls below zero is an empty
cell. At last each layer is scaled to its energy.

Source: I. Tolstikhin et al., MLP-Mixer, NeurIPS 2021 (the blocks).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.special import log_ndtr

from caloforge.detector import Grid
from caloforge.models.base import ShowerModel
from caloforge.models.mixer.layer_energies import (
    FARTHEST,
    FEATURES,
    KNOTS,
    energy_features,
    layer_energies,
    standard_quantiles,
    to_normals,
)
from caloforge.models.mixer.patches import Block, Patches
from caloforge.models.settings import Count, Sizes
from caloforge.models.shared.energy_scale import EnergyScale, InverseScale
from caloforge.models.shared.layer_shares import log_shares
from caloforge.models.shared.transforms import Transform
from caloforge.showers.batch import Given

__all__ = ["LEVELS", "SMALLEST_LAYER_MEV", "Mixer", "MixerSizes"]

LEVELS = 4
"""Energies of a layer at which its cells' marginals are kept, interpolated in the logarithm."""

SMALLEST_LAYER_MEV = 1e-3
SMALLEST_ABOVE, HIGHEST = 1e-3, 16.0
LOG_SCALES, LOG_POWERS = (-4.0, 3.0), (-2.3, 0.7)

LEAST = 0.05
"""The highest cell of a layer, at least: where a layer has energy, some cell holds it."""


class MixerSizes(Sizes):
    """``width`` and ``blocks`` are those of the mixer over patches of ``patch`` x ``patch`` cells.

    It hears of the shower through ``sources`` vectors made from conditions and ``latent`` numbers of noise.
    """

    fixed = frozenset({"patch"})
    multiples = frozenset({"width"})

    width: Count = 96
    blocks: Count = 3
    latent: Count = 48
    sources: Count = 8
    patch: Count = 5


class Mixer(ShowerModel):
    """``mixer``: showers at a fixed angle."""

    spectrum_2: Tensor
    unit_MeV: Tensor
    quantiles_KM: Tensor
    root_MM: Tensor
    level_LZ: Tensor
    place_C: Tensor
    layer_C: Tensor

    def __init__(self, grid: Grid, threshold_MeV: float, sizes: MixerSizes) -> None:
        super().__init__()
        self.follows = frozenset(["impact_xy"] * (grid.cartesian and grid.cell_size is not None))
        self.grid, self.threshold_MeV = grid, threshold_MeV
        self.width, self.latent, self.n_sources = sizes.width, sizes.latent, sizes.sources
        self.transform = Transform()
        self.sums = 1 + grid.n_layers
        self.noise_size = self.latent + self.sums + grid.n_cells
        self.register_buffer("spectrum_2", torch.tensor([0.0, 1.0]))
        self.register_buffer("unit_MeV", torch.tensor(1.0))
        self._add_layer_energies()
        self._add_cells(sizes.patch)
        self._add_network(self.latent + self.sums + FEATURES + 5, sizes)

    def _add_layer_energies(self) -> None:
        """Add what draws the energies of the layers."""
        self.location_FM = nn.Parameter(torch.zeros(FEATURES, self.sums))
        self.log_width_FM = nn.Parameter(torch.zeros(FEATURES, self.sums))
        knots_K1 = torch.linspace(-FARTHEST, FARTHEST, KNOTS)[:, None]
        self.register_buffer("quantiles_KM", knots_K1.repeat(1, self.sums))
        self.register_buffer("root_MM", torch.eye(self.sums))
        self.sums_network = nn.Sequential(
            nn.Linear(self.sums + FEATURES, 64), nn.GELU(), nn.Linear(64, self.sums)
        )

    def _add_cells(self, patch: int) -> None:
        """Add marginals of cells at some energies of their layer: threshold, log scale and log power."""
        grid = self.grid
        self.energy_scale = EnergyScale()
        self._inverse_scale: InverseScale | None = None
        self.register_buffer("level_LZ", torch.arange(LEVELS)[:, None].repeat(1, grid.n_layers).float())
        cells = (LEVELS, grid.shape[0] * grid.shape[1], grid.n_layers)
        self.cell_laws = nn.Parameter(torch.zeros(3, *cells))
        self.patches = Patches(grid, patch)
        number = torch.arange(self.patches.count * self.patches.cells)
        number_C = self.patches.join(number.view(1, self.patches.count, -1)).flatten()
        patch_C, in_patch_C = number_C // self.patches.cells, number_C % self.patches.cells
        place_C = 3 * self.patches.cells * patch_C + in_patch_C
        self.register_buffer("place_C", place_C, persistent=False)
        layer_C = torch.arange(grid.n_cells) % grid.n_layers
        self.register_buffer("layer_C", layer_C, persistent=False)

    def _add_network(self, inputs: int, sizes: MixerSizes) -> None:
        """Add what the shower as a whole changes of the marginals."""
        sources, width = sizes.sources, sizes.width
        self.sources = nn.Sequential(nn.Linear(inputs, 128), nn.GELU(), nn.Linear(128, sources * width))
        self.place_PS = nn.Parameter(torch.randn(self.patches.count, sources) / sources**0.5)
        self.place_PW = nn.Parameter(0.5 * torch.randn(self.patches.count, width))
        self.blocks = nn.Sequential(*(Block(self.patches.count, width) for _ in range(sizes.blocks)))
        self.head = nn.Linear(width, 3 * self.patches.cells)
        with torch.no_grad():
            for last in (self.head, self.sums_network[-1]):
                assert isinstance(last, nn.Linear)
                last.weight.mul_(0.1)
                last.bias.zero_()

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make deposits (B, nx, ny, nz) in MeV from standard normal noise."""
        energy_B, impact_B2 = given.energy_B, given.impact_mm_B2
        sizes = [self.latent, self.sums, self.grid.n_cells]
        latent_BL, sums_BM, own_BC = torch.split(noise_BL, sizes, dim=1)
        features_BF = self.features(energy_B)
        normals_BM = sums_BM @ self.root_MM
        normals_BM = normals_BM + self.sums_network(torch.cat([normals_BM, features_BF], 1))
        layers_BZ = self._layers(normals_BM, features_BF, energy_B)
        moved, weight_BZL = self._context(latent_BL, normals_BM, features_BF, impact_B2, layers_BZ)

        # Which cells are hit: all are looked at.
        threshold_BOZ = self._thresholds(moved, weight_BZL)
        above_BOZ = own_BC.view(threshold_BOZ.shape) - threshold_BOZ
        above_BOZ = above_BOZ + (LEAST - above_BOZ.amax(1, keepdim=True)).clamp(min=0)
        hits_H = (above_BOZ.flatten() > 0).nonzero()[:, 0]

        # How much the hit ones hold.
        above_H = above_BOZ.flatten().index_select(0, hits_H)
        layer_H, log_scale_H, log_power_H = self._marginals_at(hits_H, moved, weight_BZL)
        log_above_H = torch.log(above_H.clamp(min=SMALLEST_ABOVE))
        height_H = torch.exp(log_scale_H + torch.exp(log_power_H) * log_above_H)
        scaled_H = self.unit_MeV * torch.expm1(height_H.clamp(max=HIGHEST))
        log_H = torch.log(scaled_H)
        if self._inverse_scale is None:
            raw_H = self.energy_scale.inverse(log_H[None])[0]
        else:
            raw_H = self._inverse_scale(log_H)
        raw_H = torch.exp(raw_H.clamp(max=HIGHEST))

        # Every layer gets the energy that was drawn for it.
        sums_BZ = torch.zeros_like(layers_BZ).flatten().index_add(0, layer_H, raw_H)
        scale_BZ = layers_BZ.flatten() / sums_BZ
        deposits_BC = torch.zeros_like(own_BC).flatten()
        deposits_BC = deposits_BC.index_copy(0, hits_H, raw_H * scale_BZ.index_select(0, layer_H))
        return deposits_BC.view(-1, *self.grid.shape)

    def prepare(self) -> None:
        """Tabulate the scale of energies; the weights must not change afterwards."""
        self._inverse_scale = self.energy_scale.inverse_scale()

    def log_likelihood(self, deposits_BXYZ: Tensor, energy_B: Tensor, impact_mm_B2: Tensor) -> Tensor:
        """Return the mean log likelihood of a cell of real showers, in nats.

        As if cells were independent given the layers' energies.

        What lies above a latent normal's threshold is seen (J. Tobin, Econometrica 26 (1958) 24).
        """
        features_BF = self.features(energy_B)
        normals_BM = self._normals(log_shares(deposits_BXYZ, energy_B), features_BF).detach()
        latent_BL = torch.randn(len(energy_B), self.latent, device=energy_B.device)
        layers_BZ = deposits_BXYZ.sum((1, 2))
        moved, weight_BZL = self._context(latent_BL, normals_BM, features_BF, impact_mm_B2, layers_BZ)
        threshold_C = self._thresholds(moved, weight_BZL).flatten()
        deposits_C = deposits_BXYZ.flatten()
        hits_H = deposits_C.nonzero()[:, 0]
        _, log_scale_H, log_power_H = self._marginals_at(hits_H, moved, weight_BZL)
        threshold_H = threshold_C.index_select(0, hits_H)
        log_H, log_slope_H = self.energy_scale(torch.log(deposits_C.index_select(0, hits_H)))
        log_unit = torch.log(self.unit_MeV)
        height_H = softplus(log_H - log_unit)
        log_height_H = torch.log(height_H.clamp(min=SMALLEST_ABOVE))
        log_above_H = (log_height_H - log_scale_H) * torch.exp(-log_power_H)
        latent_H = threshold_H + torch.exp(log_above_H.clamp(max=4))
        # The slope of the latent in ln(deposit): above by height by scaled deposit by deposit.
        log_rise_H = log_above_H - log_height_H - log_power_H
        log_rise_H = log_rise_H + (log_H - log_unit - height_H) + log_slope_H
        empty = log_ndtr(threshold_C).sum() - log_ndtr(threshold_H).sum()
        nats: Tensor = empty + (log_rise_H - 0.5 * latent_H * latent_H).sum()
        return nats / deposits_C.numel()

    def _context(
        self,
        latent_BL: Tensor,
        normals_BM: Tensor,
        features_BF: Tensor,
        impact_B2: Tensor,
        layers_BZ: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return what the shower changes of its cells' marginals (B, P, 3, C), and the weights of the levels (B, nz, L)."""
        size_2 = torch.tensor(self.grid.cell_size or (1.0, 1.0), device=impact_B2.device)
        x, y = (12**0.5 * impact_B2 / size_2).unbind(1)
        place_B5 = torch.stack([x, y, x * x - 1, y * y - 1, x * y], 1)
        inputs = torch.cat([latent_BL, normals_BM, features_BF, place_B5], 1)
        sources = self.sources(inputs).view(-1, self.n_sources, self.width)
        tokens = self.blocks(self.place_PS @ sources + self.place_PW)
        moved = self.head(tokens).view(tokens.shape[0], self.patches.count, 3, -1)
        return moved, self._levels(layers_BZ)

    def _thresholds(self, moved: Tensor, weight_BZL: Tensor) -> Tensor:
        """Evaluate the thresholds of all cells (B, nx * ny, nz)."""
        usual = torch.einsum("bzl,loz->boz", weight_BZL, self.cell_laws[0])
        return usual + self.patches.join(moved[:, :, 0]).flatten(1, 2)

    def _marginals_at(
        self, hits_H: Tensor, moved: Tensor, weight_BZL: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the layer, numbered through all showers as hits are, log scale and log power of some cells."""
        shower_H = hits_H // self.grid.n_cells
        cell_H = hits_H - shower_H * self.grid.n_cells
        layer_H = shower_H * self.grid.n_layers + self.layer_C[cell_H]
        weight_LH = weight_BZL.flatten(0, 1).T.index_select(1, layer_H)
        place_H = shower_H * moved[0].numel() + self.place_C[cell_H]
        moved_N = moved.flatten()
        scale_H, power_H = (
            (weight_LH * self.cell_laws[k].flatten(1).index_select(1, cell_H)).sum(0)
            + moved_N.index_select(0, place_H + k * self.patches.cells)
            for k in (1, 2)
        )
        return layer_H, scale_H.clamp(*LOG_SCALES), power_H.clamp(*LOG_POWERS)

    def features(self, energy_B: Tensor) -> Tensor:
        """Return polynomials of the incident energy (B, F)."""
        return energy_features(energy_B, self.spectrum_2)

    def _layers(self, normals_BM: Tensor, features_BF: Tensor, energy_B: Tensor) -> Tensor:
        """Turn latent normals into the layers' energies (B, nz) in MeV."""
        standard_BM = standard_quantiles(normals_BM, self.quantiles_KM)
        width_BM = torch.exp(features_BF @ self.log_width_FM)
        return layer_energies(features_BF @ self.location_FM + standard_BM * width_BM, energy_B)

    def _normals(self, values_BM: Tensor, features_BF: Tensor) -> Tensor:
        """Turn what :func:`log_shares` gives into latent normals; undoes :meth:`_layers`."""
        width_BM = torch.exp(features_BF @ self.log_width_FM)
        return to_normals((values_BM - features_BF @ self.location_FM) / width_BM, self.quantiles_KM)

    def _levels(self, layers_BZ: Tensor) -> Tensor:
        """Return weights (B, nz, L) of the levels between which the layers' energies lie."""
        log_BZ = torch.log(layers_BZ.clamp(min=SMALLEST_LAYER_MEV))
        parts = []
        for k in range(LEVELS - 1):
            width_Z = (self.level_LZ[k + 1] - self.level_LZ[k]).clamp(min=1e-3)
            part = (log_BZ - self.level_LZ[k]) / width_Z
            # Beyond the last levels marginals go on as between them, a little.
            parts.append(part.clamp(0 if k else -1, 1 if k < LEVELS - 2 else 2))
        rise = torch.stack(parts, 2)
        return torch.cat([1 - rise[..., :1], rise[..., :-1] - rise[..., 1:], rise[..., -1:]], 2)
