"""A shower as one draw from a joint distribution: every cell's own law, tied together by common factors.

The law of a cell given energy, angle and impact point is a hurdle: it is hit where a normal score g exceeds a
threshold; the logarithm of its deposit, on a scale that all cells share, then has a sinh-arcsinh
distribution, of which g's excess gives the quantile. The scores of all cells, of the total deposit and of the layers' shares are jointly normal,
``g = W f + e``, with a few factors f that they share and noise e of their own (a Gaussian copula with
factors). Thresholds, means and widths are polynomials of the conditions; their coefficients and W are fields
around the shower's axis. At last each layer is scaled to its drawn energy, so the layer energies, and the
sampling fraction, are right by construction, and so is the number of empty cells.

Sources: factor copulas, P. Krupskii, H. Joe, J. Multivar. Anal. 120 (2013) 85; hurdle models, J. G. Cragg,
Econometrica 39 (1971) 829.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.special import ndtr, ndtri

from caloforge.detector import Grid
from caloforge.models import sinh_arcsinh
from caloforge.models.base import ShowerModel
from caloforge.models.energy_scale import EnergyScale
from caloforge.models.shower_frame import Place, ShowerFrame
from caloforge.models.transforms import Scale

__all__ = ["FACTORS", "CellLaws", "FactorCopula", "log_shares", "normal_quantile", "score_above"]

FACTORS = 64
MONOMIALS = 14
TILTED_MONOMIALS = 18

SMALLEST_SHARE = 1e-5
"""Added to a layer's share of the deposit before its logarithm is taken: layers may be empty."""

HIT_SCORES = (-5.0, 5.2)
LOG_WIDTHS = (-5.0, 3.0)


@dataclass(frozen=True)
class CellLaws:
    """The laws of C cells in B showers: hit if the score exceeds ``threshold``; of the scaled ln(deposit)."""

    threshold_BC: Tensor
    location_BC: Tensor
    log_width_BC: Tensor
    skew_C: Tensor
    log_tail_C: Tensor


@dataclass(frozen=True)
class Prepared:
    """What all showers of a model have in common, laid out for making them."""

    laws: Tensor
    """By law and monomial (3, F, ...): the cells of the window in C order, or layer by layer if showers tilt."""
    skew_C: Tensor
    log_tail_C: Tensor
    loadings_KC: Tensor
    own_C: Tensor
    sum_loadings_KM: Tensor
    rest_root_MM: Tensor


class FactorCopula(ShowerModel):
    """``copula`` for showers at a right angle, ``copula-angle`` where the angle varies."""

    moments_core: Tensor
    moments_halo: Tensor
    moments_factors: Tensor
    moments_sums: Tensor
    covariance_sums: Tensor
    spectrum_2: Tensor
    slope_spread: Tensor
    impact_span_22: Tensor
    steps_seen: Tensor

    def __init__(
        self, grid: Grid, threshold_MeV: float, *, tilted: bool = False, factors: int = FACTORS
    ) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.listens_to_angle = grid, threshold_MeV, tilted
        self.transform = Scale(1.0)
        self.frame = ShowerFrame(grid, tilted=tilted)
        self.factors, self.sums = factors, 1 + grid.n_layers
        self.monomials = TILTED_MONOMIALS if tilted else MONOMIALS
        self.noise_size = factors + self.sums + 2 + grid.n_cells
        self._prepared: Prepared | None = None
        # Laws of the cells: threshold, location and log width by monomial, then skew and log tail.
        core, halo = self.frame.coefficients(3 * self.monomials + 2)
        self.core, self.halo = nn.Parameter(core), nn.Parameter(halo)
        self.energy_scale = EnergyScale()
        # Laws of ln(total / energy) and of the logarithms of the layers' shares.
        self.sum_location = nn.Parameter(torch.zeros(self.monomials, self.sums))
        self.sum_log_width = nn.Parameter(torch.zeros(self.monomials, self.sums))
        self.sum_skew = nn.Parameter(torch.zeros(self.sums))
        self.sum_log_tail = nn.Parameter(torch.zeros(self.sums))
        # Moments of scores and factors, from which the loadings follow.
        core, halo = self.frame.coefficients(factors)
        self.register_buffer("moments_core", 0.05 * torch.randn_like(core))
        self.register_buffer("moments_halo", 0.05 * torch.randn_like(halo))
        self.register_buffer("moments_factors", torch.eye(factors))
        self.register_buffer("moments_sums", 0.05 * torch.randn(self.sums, factors))
        self.register_buffer("covariance_sums", torch.eye(self.sums))
        # What the conditions are measured by.
        self.register_buffer("spectrum_2", torch.tensor([0.0, 1.0]))
        self.register_buffer("slope_spread", torch.tensor(1.0))
        self.register_buffer("impact_span_22", torch.zeros(2, 2))
        self.register_buffer("steps_seen", torch.tensor(0))

    def forward(self, energy_B: Tensor, theta_B: Tensor, noise_BL: Tensor) -> Tensor:
        """Make deposits (B, nx, ny, nz) in MeV from standard normal noise."""
        sizes = [self.factors, self.sums, 2, self.grid.n_cells]
        factors_BK, sums_BM, impact_B2, own_BC = torch.split(noise_BL, sizes, dim=1)
        low_2, high_2 = self.impact_span_22
        place = self.frame.place(theta_B, low_2 + (high_2 - low_2) * ndtr(impact_B2))
        monomials_BZF = self.conditions(energy_B, theta_B, place)
        fixed = self._prepared or self._prepare()

        # Which cells are hit: all of the grid are looked at, in the frame of their shower.
        if self.listens_to_angle:
            laws_3BC = torch.einsum("bzf,kfzo->kboz", monomials_BZF, fixed.laws).flatten(2)
            cells_BC = self.frame.cells(place)
            common_BC = torch.gather(factors_BK @ fixed.loadings_KC, 1, cells_BC)
            threshold_BC, own_C = torch.gather(laws_3BC[0], 1, cells_BC), fixed.own_C[cells_BC]
        else:
            laws_3BC = monomials_BZF[:, 0] @ fixed.laws
            common_BC = factors_BK @ fixed.loadings_KC
            threshold_BC, own_C = laws_3BC[0], fixed.own_C
        threshold_BC = threshold_BC.clamp(*HIT_SCORES)
        score_BC = torch.addcmul(common_BC, own_C, own_BC)
        hits_H = (score_BC > threshold_BC).flatten().nonzero()[:, 0]

        # How much the hit ones hold.
        shower_H, in_grid_H = hits_H // self.grid.n_cells, hits_H % self.grid.n_cells
        cell_H = cells_BC.flatten()[hits_H] if self.listens_to_angle else in_grid_H
        location_H, log_width_H = laws_3BC[1:].flatten(1)[:, shower_H * laws_3BC.shape[2] + cell_H]
        above_H = ndtr(-score_BC.flatten()[hits_H]) / ndtr(-threshold_BC.flatten()[hits_H])
        standard_H = sinh_arcsinh.from_normal(
            -normal_quantile(above_H), fixed.skew_C[cell_H], fixed.log_tail_C[cell_H]
        )
        width_H = torch.exp(log_width_H.clamp(*LOG_WIDTHS))
        log_deposit_H = self.energy_scale.inverse(location_H + width_H * standard_H)
        deposit_H = torch.minimum(torch.exp(log_deposit_H), energy_B[shower_H])

        # Every layer gets the energy that was drawn for it.
        layers_BZ = self._layers(monomials_BZF[:, 0], factors_BK, sums_BM, energy_B, fixed)
        in_layer_H = shower_H * self.grid.n_layers + in_grid_H % self.grid.n_layers
        sums_BZ = torch.zeros_like(layers_BZ).flatten().index_add(0, in_layer_H, deposit_H)
        scale_BZ = layers_BZ.flatten() / sums_BZ.clamp(min=1e-9)
        deposits_BC = torch.zeros_like(score_BC).flatten()
        deposits_BC[hits_H] = deposit_H * scale_BZ[in_layer_H]
        return deposits_BC.view(-1, *self.grid.shape)

    def prepare(self) -> None:
        """Work out once what showers have in common; the weights must not change afterwards."""
        self._prepared = self._prepare()

    def _prepare(self) -> Prepared:
        field_OZC = self.frame.expand(self.core, self.halo)
        shapes = 3 * self.monomials
        laws_3FOZ = (
            field_OZC[..., :shapes].reshape(*field_OZC.shape[:2], 3, self.monomials).permute(2, 3, 0, 1)
        )
        loadings_CK, variance_C = self.cell_loadings()
        sum_loadings_MK, rest_MM = self.sum_loadings()
        return Prepared(
            laws=(
                laws_3FOZ.transpose(2, 3) if self.listens_to_angle else laws_3FOZ.flatten(2)
            ).contiguous(),
            skew_C=field_OZC[..., shapes].flatten(),
            log_tail_C=field_OZC[..., shapes + 1].flatten(),
            loadings_KC=loadings_CK.T.contiguous(),
            own_C=variance_C.sqrt(),
            sum_loadings_KM=sum_loadings_MK.T,
            rest_root_MM=torch.linalg.cholesky(rest_MM).T,
        )

    def conditions(self, energy_B: Tensor, theta_B: Tensor, place: Place) -> Tensor:
        """Monomials of the conditions at each layer (B, nz, F), nearly orthonormal over the training showers."""
        y = 12**0.5 * place.offset_y_BZ
        x = (12**0.5 * place.offset_x_B)[:, None].expand_as(y)
        energy = ((torch.log(energy_B) - self.spectrum_2[0]) / self.spectrum_2[1])[:, None].expand_as(y)
        xx, yy = x * x - 1, y * y - 1
        found = [torch.ones_like(y), energy, (energy * energy - 1) / 2**0.5, x, y, xx, yy, x * y]
        found += [energy * x, energy * y, x**3 - 1.8 * x, y**3 - 1.8 * y, energy * xx, energy * yy]
        if self.listens_to_angle:
            slope = (self.frame.slope(theta_B) / self.slope_spread)[:, None].expand_as(y)
            found += [slope, slope * slope - 1, energy * slope, slope * y]
        return torch.stack(found, dim=-1)

    def laws(self, monomials_BZF: Tensor) -> CellLaws:
        """Evaluate the laws of all cells of the window; cells in C order."""
        field_OZC = self.frame.expand(self.core, self.halo)
        shapes = 3 * self.monomials
        by_monomial = field_OZC[..., :shapes].reshape(*field_OZC.shape[:2], 3, self.monomials)
        if self.listens_to_angle:
            laws = torch.einsum("bzf,ozkf->kboz", monomials_BZF, by_monomial)
        else:
            laws = torch.einsum("bf,ozkf->kboz", monomials_BZF[:, 0], by_monomial)
        threshold_BC, location_BC, log_width_BC = laws.flatten(2)
        return CellLaws(
            threshold_BC.clamp(*HIT_SCORES),
            location_BC,
            log_width_BC.clamp(*LOG_WIDTHS),
            field_OZC[..., shapes].flatten(),
            field_OZC[..., shapes + 1].flatten(),
        )

    def sum_laws(self, monomials_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Location and log width (B, M) of ln(total / energy) and of the layers' log shares."""
        return monomials_BF @ self.sum_location, (monomials_BF @ self.sum_log_width).clamp(-6, 4)

    def cell_loadings(self) -> tuple[Tensor, Tensor]:
        """W of the cells of the window (C, K), and the variance (C,) that is a cell's own: 1 in all."""
        loadings_CK = self.frame.expand(self.moments_core, self.moments_halo).flatten(0, 1)
        common_C = (loadings_CK * loadings_CK).sum(1)
        loadings_CK = loadings_CK * torch.sqrt(0.99 / common_C.clamp(min=0.99))[:, None]
        return loadings_CK, (1 - common_C).clamp(min=0.01)

    def sum_loadings(self) -> tuple[Tensor, Tensor]:
        """W of total and shares (M, K), and the covariance (M, M) beyond it: unit variances in all."""
        rest_MM = self.covariance_sums - self.moments_sums @ self.moments_sums.T
        size_M, axes_MM = torch.linalg.eigh(rest_MM.double())
        rest_MM = ((axes_MM * size_M.clamp(min=1e-3)) @ axes_MM.T).float()
        scale_M = torch.rsqrt(rest_MM.diagonal() + (self.moments_sums**2).sum(1))
        return self.moments_sums * scale_M[:, None], rest_MM * scale_M[:, None] * scale_M

    def _layers(
        self,
        monomials_BF: Tensor,
        factors_BK: Tensor,
        noise_BM: Tensor,
        energy_B: Tensor,
        fixed: Prepared,
    ) -> Tensor:
        """Draw the layers' deposits (B, nz) in MeV."""
        score_BM = factors_BK @ fixed.sum_loadings_KM + noise_BM @ fixed.rest_root_MM
        location_BM, log_width_BM = self.sum_laws(monomials_BF)
        standard_BM = sinh_arcsinh.from_normal(score_BM, self.sum_skew, self.sum_log_tail)
        drawn_BM = location_BM + torch.exp(log_width_BM) * standard_BM
        share_BZ = (torch.exp(drawn_BM[:, 1:]) - SMALLEST_SHARE).clamp(min=0)
        total_B = energy_B * torch.exp(drawn_BM[:, 0].clamp(max=0))
        return share_BZ * (total_B / share_BZ.sum(1).clamp(min=SMALLEST_SHARE))[:, None]


def log_shares(deposits_BXYZ: Tensor, energy_B: Tensor) -> Tensor:
    """Give ln(total / energy) and the logarithms of the layers' shares of the total, (B, 1 + nz)."""
    layers_BZ = deposits_BXYZ.sum((1, 2))
    total_B1 = layers_BZ.sum(1, keepdim=True).clamp(min=1e-9)
    return torch.cat(
        [torch.log(total_B1 / energy_B[:, None]), torch.log(layers_BZ / total_B1 + SMALLEST_SHARE)],
        dim=1,
    )


def normal_quantile(probability: Tensor) -> Tensor:
    """Give the standard normal quantile, at most about 5.2 from zero."""
    quantile: Tensor = ndtri(probability.clamp(1e-7, 1 - 1e-7))
    return quantile


def score_above(score: Tensor, threshold: Tensor) -> Tensor:
    """Give the quantile of a normal law cut off below ``threshold`` that ``score`` is of a whole one."""
    return -normal_quantile(ndtr(-score) * ndtr(-threshold))
