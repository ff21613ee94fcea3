"""A shower in two steps: energies of the layers by a tiny network, then each layer's shape by a mixer over patches.

The logarithms of the total deposit's share of the incident energy and of the layers' shares of the total get a law
fitted in closed form (polynomials of the conditions, quantiles of what is left, normal scores with their
correlations), of which a small network moves the scores. The shape's network sees the scores, the impact point and
latent noise; the face is cut into patches whose tokens hold all layers. It gives each cell a location and a width on
the scale ``ln(1 + deposit / unit)``, to which noise of the cell's own is added. What falls below zero is an empty
cell. At last each layer is scaled to its energy.

Source: I. Tolstikhin et al., MLP-Mixer, NeurIPS 2021 (the blocks).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, softplus
from torch.special import log_ndtr, ndtr, ndtri

from caloforge.detector import Grid
from caloforge.models.base import ShowerModel
from caloforge.models.copula.model import SMALLEST_SHARE, log_shares
from caloforge.models.shared.energy_scale import EnergyScale, InverseScale
from caloforge.models.shared.transforms import Scale

__all__ = ["Block", "Mixer", "Patches", "condition_features"]

LATENT = 48
WIDTH = 96
BLOCKS = 3
SOURCES = 8
PATCH = 5

LEVELS = 4
"""Energies of a layer at which its cells' laws are kept, interpolated in the logarithm."""

KNOTS, FARTHEST = 41, 3.2
"""Normal scores between which quantiles are interpolated."""

SMALLEST_LAYER_MEV = 1e-3
SMALLEST_ABOVE, HIGHEST = 1e-3, 16.0
LOG_SCALES, LOG_POWERS = (-4.0, 3.0), (-2.3, 0.7)

LEAST = 0.05
"""The highest cell of a layer, at least: where a layer has energy, some cell holds it."""

RARE, PRIOR_HITS = 0.2, 5.0
POWERS, QUANTILES = 24, 48

UNIT = 0.4
"""Of the median deposit: the unit in which ln(1 + deposit / unit) of hits looks like half a normal law."""


class Patches(nn.Module):
    """Cuts a grid's face into patches with all their layers, (B, nx, ny, nz) to (B, P, C), and back."""

    def __init__(self, grid: Grid, side: int = PATCH) -> None:
        super().__init__()
        self.shape, self.side = grid.shape, side
        self.across = tuple(-(-n // side) for n in grid.shape[:2])
        self.count = self.across[0] * self.across[1]
        self.cells = side * side * grid.n_layers

    def forward(self, image_BXYZ: Tensor) -> Tensor:
        """Cut; cells beyond the edges are zero."""
        side = self.side
        missing = [side * a - n for a, n in zip(self.across, self.shape[:2], strict=True)]
        image = pad(image_BXYZ, (0, 0, 0, missing[1], 0, missing[0])) if any(missing) else image_BXYZ
        ax, ay = self.across
        cut = image.reshape(len(image), ax, side, ay, side, self.shape[2]).permute(0, 1, 3, 2, 4, 5)
        return cut.reshape(len(image), self.count, self.cells)

    def join(self, patches_BPC: Tensor) -> Tensor:
        """Put together."""
        ax, ay = self.across
        cut = patches_BPC.reshape(len(patches_BPC), ax, ay, self.side, self.side, self.shape[2])
        image = cut.permute(0, 1, 3, 2, 4, 5).reshape(-1, self.side * ax, self.side * ay, self.shape[2])
        return image[:, : self.shape[0], : self.shape[1]]


class Block(nn.Module):
    """Mixes tokens, then channels: (B, P, W) to the same."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm_tokens, self.norm_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Linear(tokens, tokens)
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x_BPW: Tensor) -> Tensor:
        """Add what the neighbours and the channels say."""
        x_BPW = x_BPW + self.tokens(self.norm_tokens(x_BPW).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x_BPW + self.narrow(gelu(self.widen(self.norm_channels(x_BPW))))
        return out


def condition_features(
    energy_B: Tensor, theta_B: Tensor, spectrum_2: Tensor, *, conditioned_on_angle: bool
) -> Tensor:
    """Return 1 and polynomials of ln(energy), and of the slope where it counts, (B, F)."""
    e = (torch.log(energy_B) - spectrum_2[0]) / spectrum_2[1]
    found = [torch.ones_like(e), e, (e * e - 1) / 2**0.5]
    if conditioned_on_angle:
        slope = 1 / torch.tan(theta_B)
        found += [slope, slope * slope, e * slope]
    return torch.stack(found, dim=1)


class Mixer(ShowerModel):
    """``mixer`` for showers at a right angle, ``mixer-angle`` where the angle varies.

    ``width`` and ``blocks`` are those of the mixer over patches of ``patch`` x ``patch`` cells, which hears
    of the shower through ``sources`` vectors made from conditions and ``latent`` numbers of noise.
    """

    spectrum_2: Tensor
    impact_span_22: Tensor
    unit_MeV: Tensor
    quantiles_KM: Tensor
    root_MM: Tensor
    level_LZ: Tensor
    place_C: Tensor
    layer_C: Tensor

    def __init__(
        self,
        grid: Grid,
        threshold_MeV: float,
        *,
        tilted: bool = False,
        width: int = WIDTH,
        blocks: int = BLOCKS,
        latent: int = LATENT,
        sources: int = SOURCES,
        patch: int = PATCH,
    ) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.conditioned_on_angle = grid, threshold_MeV, tilted
        self.width, self.latent, self.n_sources = width, latent, sources
        self.transform = Scale(1.0)
        self.sums = 1 + grid.n_layers
        self.noise_size = latent + self.sums + 2 + grid.n_cells
        features = 6 if tilted else 3
        self.register_buffer("spectrum_2", torch.tensor([0.0, 1.0]))
        self.register_buffer("impact_span_22", torch.zeros(2, 2))
        self.register_buffer("unit_MeV", torch.tensor(1.0))
        # Energies of the layers.
        self.location_FM = nn.Parameter(torch.zeros(features, self.sums))
        self.log_width_FM = nn.Parameter(torch.zeros(features, self.sums))
        knots_K1 = torch.linspace(-FARTHEST, FARTHEST, KNOTS)[:, None]
        self.register_buffer("quantiles_KM", knots_K1.repeat(1, self.sums))
        self.register_buffer("root_MM", torch.eye(self.sums))
        self.sums_network = nn.Sequential(
            nn.Linear(self.sums + features, 64), nn.GELU(), nn.Linear(64, self.sums)
        )
        self.energy_scale = EnergyScale()
        self._inverse_scale: InverseScale | None = None
        # Laws of cells at some energies of their layer: threshold, log scale and log power.
        self.register_buffer("level_LZ", torch.arange(LEVELS)[:, None].repeat(1, grid.n_layers).float())
        cells = (LEVELS, grid.shape[0] * grid.shape[1], grid.n_layers)
        self.cell_laws = nn.Parameter(torch.zeros(3, *cells))
        # What the shower as a whole changes of them.
        self.patches = Patches(grid, patch)
        number = torch.arange(self.patches.count * self.patches.cells)
        number_C = self.patches.join(number.view(1, self.patches.count, -1)).flatten()
        patch_C, in_patch_C = number_C // self.patches.cells, number_C % self.patches.cells
        place_C = 3 * self.patches.cells * patch_C + in_patch_C
        self.register_buffer("place_C", place_C, persistent=False)
        layer_C = torch.arange(grid.n_cells) % grid.n_layers
        self.register_buffer("layer_C", layer_C, persistent=False)
        inputs = latent + self.sums + features + 5
        self.sources = nn.Sequential(nn.Linear(inputs, 128), nn.GELU(), nn.Linear(128, sources * width))
        self.place_PS = nn.Parameter(torch.randn(self.patches.count, sources) / sources**0.5)
        self.place_PW = nn.Parameter(0.5 * torch.randn(self.patches.count, width))
        self.blocks = nn.Sequential(*(Block(self.patches.count, width) for _ in range(blocks)))
        self.head = nn.Linear(width, 3 * self.patches.cells)
        with torch.no_grad():
            for last in (self.head, self.sums_network[-1]):
                assert isinstance(last, nn.Linear)
                last.weight.mul_(0.1)
                last.bias.zero_()

    def forward(self, energy_B: Tensor, theta_B: Tensor, noise_BL: Tensor) -> Tensor:
        """Make deposits (B, nx, ny, nz) in MeV from standard normal noise."""
        sizes = [self.latent, self.sums, 2, self.grid.n_cells]
        latent_BL, sums_BM, impact_B2, own_BC = torch.split(noise_BL, sizes, dim=1)
        low_2, high_2 = self.impact_span_22
        impact_B2 = low_2 + (high_2 - low_2) * ndtr(impact_B2)
        features_BF = self._features(energy_B, theta_B)
        scores_BM = sums_BM @ self.root_MM
        scores_BM = scores_BM + self.sums_network(torch.cat([scores_BM, features_BF], 1))
        layers_BZ = self._layers(scores_BM, features_BF, energy_B)
        moved, weight_BZL = self._context(latent_BL, scores_BM, features_BF, impact_B2, layers_BZ)

        # Which cells are hit: all are looked at.
        threshold_BOZ = self._thresholds(moved, weight_BZL)
        above_BOZ = own_BC.view(threshold_BOZ.shape) - threshold_BOZ
        above_BOZ = above_BOZ + (LEAST - above_BOZ.amax(1, keepdim=True)).clamp(min=0)
        hits_H = (above_BOZ.flatten() > 0).nonzero()[:, 0]

        # How much the hit ones hold.
        above_H = above_BOZ.flatten().index_select(0, hits_H)
        layer_H, log_scale_H, log_power_H = self._laws_at(hits_H, moved, weight_BZL)
        log_above_H = torch.log(above_H.clamp(min=SMALLEST_ABOVE))
        height_H = torch.exp(log_scale_H + torch.exp(log_power_H) * log_above_H)
        scaled_H = self.unit_MeV * torch.expm1(height_H.clamp(max=HIGHEST))
        unscaled = self._inverse_scale or self.energy_scale.inverse
        raw_H = torch.exp(unscaled(torch.log(scaled_H)).clamp(max=HIGHEST))

        # Every layer gets the energy that was drawn for it.
        sums_BZ = torch.zeros_like(layers_BZ).flatten().index_add(0, layer_H, raw_H)
        scale_BZ = layers_BZ.flatten() / sums_BZ
        deposits_BC = torch.zeros_like(own_BC).flatten()
        deposits_BC = deposits_BC.index_copy(0, hits_H, raw_H * scale_BZ.index_select(0, layer_H))
        return deposits_BC.view(-1, *self.grid.shape)

    def prepare(self) -> None:
        """Tabulate the scale of energies; the weights must not change afterwards."""
        self._inverse_scale = self.energy_scale.inverse_scale()

    def aimed(self, noise_BL: Tensor, impact_mm_B2: Tensor) -> Tensor:
        """Change the noise so that showers have these impact points, as far as training showers had them."""
        low_2, high_2 = self.impact_span_22
        part = (impact_mm_B2 - low_2) / (high_2 - low_2).clamp(min=1e-9)
        first = self.latent + self.sums
        score_B2 = torch.where(
            high_2 > low_2, ndtri(part.clamp(1e-6, 1 - 1e-6)), noise_BL[:, first : first + 2]
        )
        return torch.cat([noise_BL[:, :first], score_B2, noise_BL[:, first + 2 :]], 1)

    def log_likelihood(
        self, deposits_BXYZ: Tensor, energy_B: Tensor, theta_B: Tensor, impact_mm_B2: Tensor
    ) -> Tensor:
        """Mean log likelihood of a cell of real showers, in nats, as if cells were independent given the layers' energies.

        What lies above a normal score's threshold is seen (J. Tobin, Econometrica 26 (1958) 24).
        """
        features_BF = self._features(energy_B, theta_B)
        scores_BM = self._scores(log_shares(deposits_BXYZ, energy_B), features_BF).detach()
        latent_BL = torch.randn(len(energy_B), self.latent, device=energy_B.device)
        layers_BZ = deposits_BXYZ.sum((1, 2))
        moved, weight_BZL = self._context(latent_BL, scores_BM, features_BF, impact_mm_B2, layers_BZ)
        threshold_C = self._thresholds(moved, weight_BZL).flatten()
        deposits_C = deposits_BXYZ.flatten()
        hits_H = deposits_C.nonzero()[:, 0]
        _, log_scale_H, log_power_H = self._laws_at(hits_H, moved, weight_BZL)
        threshold_H = threshold_C.index_select(0, hits_H)
        log_H, log_slope_H = self.energy_scale(torch.log(deposits_C.index_select(0, hits_H)))
        log_unit = torch.log(self.unit_MeV)
        height_H = softplus(log_H - log_unit)
        log_height_H = torch.log(height_H.clamp(min=SMALLEST_ABOVE))
        log_above_H = (log_height_H - log_scale_H) * torch.exp(-log_power_H)
        score_H = threshold_H + torch.exp(log_above_H.clamp(max=4))
        # The slope of the score in ln(deposit): above by height by scaled deposit by deposit.
        log_rise_H = log_above_H - log_height_H - log_power_H
        log_rise_H = log_rise_H + (log_H - log_unit - height_H) + log_slope_H
        empty = log_ndtr(threshold_C).sum() - log_ndtr(threshold_H).sum()
        nats: Tensor = empty + (log_rise_H - 0.5 * score_H * score_H).sum()
        return nats / deposits_C.numel()

    def _context(
        self,
        latent_BL: Tensor,
        scores_BM: Tensor,
        features_BF: Tensor,
        impact_B2: Tensor,
        layers_BZ: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return what the shower changes of its cells' laws (B, P, 3, C), and the weights of the levels (B, nz, L)."""
        size_2 = torch.tensor(self.grid.cell_size or (1.0, 1.0), device=impact_B2.device)
        x, y = (12**0.5 * impact_B2 / size_2).unbind(1)
        place_B5 = torch.stack([x, y, x * x - 1, y * y - 1, x * y], 1)
        inputs = torch.cat([latent_BL, scores_BM, features_BF, place_B5], 1)
        sources = self.sources(inputs).view(-1, self.n_sources, self.width)
        tokens = self.blocks(self.place_PS @ sources + self.place_PW)
        moved = self.head(tokens).view(len(tokens), self.patches.count, 3, -1)
        return moved, self._levels(layers_BZ)

    def _thresholds(self, moved: Tensor, weight_BZL: Tensor) -> Tensor:
        """Evaluate the thresholds of all cells (B, nx * ny, nz)."""
        usual = torch.einsum("bzl,loz->boz", weight_BZL, self.cell_laws[0])
        return usual + self.patches.join(moved[:, :, 0]).flatten(1, 2)

    def _laws_at(
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

    def _features(self, energy_B: Tensor, theta_B: Tensor) -> Tensor:
        return condition_features(
            energy_B, theta_B, self.spectrum_2, conditioned_on_angle=self.conditioned_on_angle
        )

    def _layers(self, scores_BM: Tensor, features_BF: Tensor, energy_B: Tensor) -> Tensor:
        """Turn scores into the layers' energies (B, nz) in MeV."""
        step = 2 * FARTHEST / (KNOTS - 1)
        knot = ((scores_BM.detach() + FARTHEST) / step).long().clamp(0, KNOTS - 2)
        low, high = self.quantiles_KM.gather(0, knot), self.quantiles_KM.gather(0, knot + 1)
        standard = low + (high - low) * ((scores_BM + FARTHEST) / step - knot)
        values_BM = features_BF @ self.location_FM + standard * torch.exp(
            features_BF @ self.log_width_FM
        )
        share_BZ = (torch.exp(values_BM[:, 1:].clamp(max=0)) - SMALLEST_SHARE).clamp(min=0)
        total_B = energy_B * torch.exp(values_BM[:, 0].clamp(max=0))
        return share_BZ * (total_B / share_BZ.sum(1).clamp(min=SMALLEST_SHARE))[:, None]

    def _scores(self, values_BM: Tensor, features_BF: Tensor) -> Tensor:
        """Turn what :func:`log_shares` gives into normal scores; undoes :meth:`_layers`."""
        width_BM = torch.exp(features_BF @ self.log_width_FM)
        standard = (values_BM - features_BF @ self.location_FM) / width_BM
        table_MK = self.quantiles_KM.T.contiguous()
        knot = torch.searchsorted(table_MK, standard.T.contiguous()).sub(1).clamp(0, KNOTS - 2)
        low, high = table_MK.gather(1, knot), table_MK.gather(1, knot + 1)
        within = (standard.T - low) / (high - low).clamp(min=1e-6)
        step = 2 * FARTHEST / (KNOTS - 1)
        return ((knot + within).T * step - FARTHEST).clamp(-5, 5)

    def _levels(self, layers_BZ: Tensor) -> Tensor:
        """Weights (B, nz, L) of the levels between which the layers' energies lie."""
        log_BZ = torch.log(layers_BZ.clamp(min=SMALLEST_LAYER_MEV))
        parts = []
        for k in range(LEVELS - 1):
            width_Z = (self.level_LZ[k + 1] - self.level_LZ[k]).clamp(min=1e-3)
            part = (log_BZ - self.level_LZ[k]) / width_Z
            # Beyond the last levels laws go on as between them, a little.
            parts.append(part.clamp(0 if k else -1, 1 if k < LEVELS - 2 else 2))
        rise = torch.stack(parts, 2)
        return torch.cat([1 - rise[..., :1], rise[..., :-1] - rise[..., 1:], rise[..., -1:]], 2)

    @torch.no_grad()
    def begin(
        self, deposits_BXYZ: Tensor, energy_B: Tensor, theta_B: Tensor, impact_mm_B2: Tensor
    ) -> None:
        """Fit what has a closed form to real showers (MeV, rad, mm)."""
        log_energy_B = torch.log(energy_B)
        self.spectrum_2.copy_(torch.stack([log_energy_B.mean(), log_energy_B.std().clamp(min=1e-3)]))
        self.impact_span_22.copy_(torch.stack([impact_mm_B2.amin(0), impact_mm_B2.amax(0)]))
        hits_H = deposits_BXYZ[deposits_BXYZ > 0]
        self.unit_MeV.copy_(UNIT * hits_H.median() if len(hits_H) else self.unit_MeV)
        self._begin_layers(log_shares(deposits_BXYZ, energy_B), self._features(energy_B, theta_B))
        self._begin_cells(deposits_BXYZ)

    def _begin_layers(self, values_BM: Tensor, features_BF: Tensor) -> None:
        ridge = 1e-3 * torch.eye(features_BF.shape[1])
        solve = torch.linalg.solve(features_BF.T @ features_BF + ridge, features_BF.T)
        self.location_FM.copy_(solve @ values_BM)
        rest_BM = values_BM - features_BF @ self.location_FM
        self.log_width_FM.copy_(solve @ torch.log(rest_BM.abs().clamp(min=1e-3)))
        standard_BM = rest_BM / torch.exp(features_BF @ self.log_width_FM)
        knots_K = torch.linspace(-FARTHEST, FARTHEST, KNOTS)
        self.quantiles_KM.copy_(torch.quantile(standard_BM, ndtr(knots_K), dim=0))
        count = len(values_BM)
        rank_BM = standard_BM.argsort(0).argsort(0)
        score_BM = ndtri((rank_BM + 0.5) / count)
        covariance_MM = torch.corrcoef(score_BM.T) if count > 2 else torch.eye(self.sums)
        covariance_MM = torch.nan_to_num(covariance_MM) + 0.01 * torch.eye(self.sums)
        self.root_MM.copy_(torch.linalg.cholesky(covariance_MM / 1.01).T)

    def _begin_cells(self, deposits_BXYZ: Tensor) -> None:
        """Find normal laws whose part above zero has the hits, mean and spread of groups of showers."""
        height_BOZ = torch.log1p(deposits_BXYZ.flatten(1, 2) / self.unit_MeV)
        hit_BOZ = (height_BOZ > 0).float()
        log_BZ = torch.log(deposits_BXYZ.sum((1, 2)).clamp(min=SMALLEST_LAYER_MEV))
        order_BZ = log_BZ.argsort(0).argsort(0)
        rare_OZ = hit_BOZ.mean(0) < RARE
        usual = [
            (height_BOZ**n).sum(0)[rare_OZ].sum() / hit_BOZ.sum(0)[rare_OZ].sum().clamp(min=1)
            for n in (1, 2)
        ]
        for level in range(LEVELS):
            in_BZ = (order_BZ * LEVELS // len(log_BZ) == level).float()
            count_Z = in_BZ.sum(0).clamp(min=1)
            self.level_LZ[level] = (in_BZ * log_BZ).sum(0) / count_Z
            hits, first, second = (
                torch.einsum("boz,bz->oz", values, in_BZ)
                for values in (hit_BOZ, height_BOZ, height_BOZ**2)
            )
            # A prior of half a hit in a shower, and of a few hits as rare ones are.
            probability = ((hits + 0.5) / (count_Z + 1)).clamp(1e-5, 1 - 1e-4)
            mean, square = (
                (seen + PRIOR_HITS * prior) / (hits + PRIOR_HITS)
                for seen, prior in zip((first, second), usual, strict=True)
            )
            self.cell_laws[:, level] = torch.stack(_laws_of(probability, mean, square))


def _laws_of(probability: Tensor, mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find threshold, log scale and log power of cells that are so often hit, from moments of their hits."""
    threshold = -ndtri(probability)
    quantile_Q = (torch.arange(QUANTILES) + 0.5) / QUANTILES
    above = -ndtri((probability[..., None] * quantile_Q).clamp(min=1e-30)) - threshold[..., None]
    log_above = torch.log(above.clamp(min=1e-6))
    wanted = (square / (mean * mean).clamp(min=1e-12)).clamp(min=1)
    best = torch.full_like(mean, torch.inf)
    log_power, log_scale = torch.zeros_like(mean), torch.zeros_like(mean)
    for power in torch.logspace(-0.9, 0.2, POWERS):
        raised = torch.exp(power * log_above)
        raised_mean = raised.mean(-1)
        away = (torch.log(raised.square().mean(-1) / raised_mean**2) - torch.log(wanted)).abs()
        better = away < best
        best = torch.where(better, away, best)
        log_power = torch.where(better, torch.log(power), log_power)
        log_scale = torch.where(better, torch.log(mean.clamp(min=1e-3) / raised_mean), log_scale)
    return threshold, log_scale, log_power
