"""A shower as one draw from a joint distribution: every cell's own marginal, tied together by common factors.

The marginal of a cell given energy, angle and impact point is a hurdle: it is hit where a latent normal g exceeds
a threshold; the logarithm of its deposit, on a scale that all cells share, then has a sinh-arcsinh distribution,
of which g's excess gives the quantile (:mod:`caloforge.models.copula.marginals`). The latents of all cells, of
the total deposit and of the layers' shares are jointly normal, ``g = W f + e``, with a few factors f that they
share and noise e that a cell shares with its neighbours alone (a Gaussian copula with factors).

Thresholds, means and widths are polynomials of the conditions and of the shower's depth, which is drawn first;
their coefficients and W are fields around the shower's axis. At last each layer of many hits is scaled to its drawn energy, and
all of them to the drawn total, so the sampling fraction is right by construction, and so is the number of empty cells.

Source: factor copulas, P. Krupskii, H. Joe, J. Multivar. Anal. 120 (2013) 85.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.models.base import ShowerModel
from caloforge.models.copula import sinh_arcsinh
from caloforge.models.copula.axis_frame import Place, ShowerFrame
from caloforge.models.copula.conditions import BEND, monomials, products
from caloforge.models.copula.marginals import (
    LOG_WIDTHS,
    THRESHOLDS,
    CellMarginals,
    normal_cdf,
    normal_quantile,
)
from caloforge.models.shared.energy_scale import HIGHEST_MEV, EnergyScale, InverseScale
from caloforge.models.shared.layer_shares import SMALLEST_SHARE
from caloforge.models.shared.transforms import Transform
from caloforge.showers.batch import Given
from caloforge.showers.conditions import PHOTON

__all__ = ["FactorCopula", "depth", "flat_nonzero"]

MANY_HITS = 5
"""Hits of a layer of which half its distance (in ln) from its drawn energy is made up."""


@dataclass(frozen=True)
class Prepared:
    """What all showers of a model have in common, laid out for making them: layer by layer, then O = wx * wy cells."""

    above_ZIO: Tensor
    """From factors and monomials (I = K + F) to what they put a latent above its threshold."""
    own_ZO: Tensor
    neighbours_ZO: Tensor
    """What a cell's own noise and that of each of its neighbours in the layer add to its latent."""
    marginals_ZFO: Tensor
    """From monomials to thresholds, locations and log widths, side by side (Z, F, 3 O)."""
    skew_C: Tensor
    tail_C: Tensor
    """Inverse of exp(log_tail)."""
    largest_C: Tensor
    """Of a cell's ln(deposit / MeV)."""
    inverse_scale: InverseScale
    sum_loadings_KM: Tensor
    rest_root_MM: Tensor


class Hits(NamedTuple):
    """The cells that are hit, (H,) each, and their latents above the threshold among all of them (Z, B, O)."""

    above_ZBO: Tensor
    flat_H: Tensor
    """Counted through ``above_ZBO``, of which ``row_H`` is the row (Z, B)."""
    row_H: Tensor
    shower_H: Tensor
    layer_H: Tensor
    across_H: Tensor
    cells_H: Tensor
    """Counted through all B images."""


class FactorCopula(ShowerModel):
    """``copula``: for showers at any place; ``tilted`` from any direction, ``particles`` for electrons and photons."""

    at_once = 32

    moments_core: Tensor
    moments_halo: Tensor
    moments_factors: Tensor
    moments_sums: Tensor
    covariance_sums: Tensor
    neighbours_RZ: Tensor
    largest_R: Tensor
    spectrum_2: Tensor
    slope_spread: Tensor
    steps_seen: Tensor
    products: Tensor

    def __init__(
        self,
        grid: Grid,
        threshold_MeV: float,
        *,
        tilted: bool = False,
        particles: bool = False,
        factors: int = 64,
    ) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.transform = grid, threshold_MeV, Transform()
        self.tilted, self.particles = tilted, particles
        self.frame = ShowerFrame(grid, tilted=tilted)
        self.follows = frozenset(
            ["impact_xy"] * self.frame.has_sizes
            + ["incident_theta", "incident_phi"] * tilted
            + ["pdg_id"] * particles
        )
        self.factors, self.sums = factors, 1 + grid.n_layers
        pairs = products(tilted=tilted, particles=particles)
        self.register_buffer("products", pairs, persistent=False)
        n_given = 3 + tilted + particles
        self.n_monomials = self.products.shape[1]
        self.noise_size = factors + self.sums + 1 + grid.n_cells
        self._prepared: Prepared | None = None
        # Marginals of the cells: threshold, location and log width by monomial, then skew and log tail.
        core, halo = self.frame.coefficients(3 * self.n_monomials + 2)
        self.core, self.halo = nn.Parameter(core), nn.Parameter(halo)
        self.energy_scale = EnergyScale()
        # Marginal of the depth: location, log width, skew and log tail, given energy and angle.
        self.depth_laws = nn.Parameter(torch.zeros(4, n_given))
        # Marginals of ln(total / energy) and of the logarithms of the layers' shares.
        self.sum_location = nn.Parameter(torch.zeros(self.n_monomials, self.sums))
        self.sum_log_width = nn.Parameter(torch.zeros(self.n_monomials, self.sums))
        self.sum_skew = nn.Parameter(torch.zeros(n_given, self.sums))
        self.sum_log_tail = nn.Parameter(torch.zeros(n_given, self.sums))
        # Moments of latents and factors, from which the loadings follow.
        core, halo = self.frame.coefficients(factors)
        self.register_buffer("moments_core", 0.05 * torch.randn_like(core))
        self.register_buffer("moments_halo", 0.05 * torch.randn_like(halo))
        self.register_buffer("moments_factors", torch.eye(factors))
        self.register_buffer("moments_sums", 0.05 * torch.randn(self.sums, factors))
        self.register_buffer("covariance_sums", torch.eye(self.sums))
        # Share of a neighbour's noise in a cell's own, by distance from the axis and layer.
        self.register_buffer("neighbours_RZ", torch.zeros(self.frame.rings, grid.n_layers))
        # The largest ln(deposit / MeV) that was seen, by distance: the tails of marginals know no end.
        self.register_buffer("largest_R", torch.full((self.frame.rings,), math.log(HIGHEST_MEV)))
        # What the conditions are measured by.
        self.register_buffer("spectrum_2", torch.tensor([0.0, 1.0]))
        self.register_buffer("slope_spread", torch.tensor(1.0))
        self.register_buffer("steps_seen", torch.tensor(0))

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make deposits (B, nx, ny, nz) in MeV from standard normal noise."""
        fixed = self._prepared or self._prepare()
        energy_B = given.energy_B
        sizes = [self.factors, self.sums, 1, self.grid.n_cells]
        factors_BK, sums_BM, depth_B1, own_BC = torch.split(noise_BL, sizes, dim=1)
        place = self.frame.place(given)
        monomials_BZF = self.conditions(given, place, depth_B1[:, 0])
        hits = self._hits(fixed, place, monomials_BZF, factors_BK, own_BC)
        deposit_H = self._deposits(fixed, hits, monomials_BZF, energy_B)

        given_BJ = self.of_shower(given)
        latent_BM = factors_BK @ fixed.sum_loadings_KM + sums_BM @ fixed.rest_root_MM
        layers_BZ = self._layers(monomials_BZF[:, 0], given_BJ, latent_BM, energy_B)
        in_layer_H = hits.shower_H * self.grid.n_layers + hits.layer_H
        scale_BZ = _scales(layers_BZ, in_layer_H, deposit_H)
        deposits_N = energy_B.new_zeros(energy_B.shape[0] * self.grid.n_cells)
        deposits_N = deposits_N.index_copy_(0, hits.cells_H, deposit_H * scale_BZ.view(-1)[in_layer_H])
        return deposits_N.view(-1, *self.grid.shape)

    def _hits(
        self,
        fixed: Prepared,
        place: Place,
        monomials_BZF: Tensor,
        factors_BK: Tensor,
        own_BC: Tensor,
    ) -> Hits:
        """Find the cells whose latents exceed their thresholds: all of the window are looked at."""
        count, n_layers = own_BC.shape[0], self.grid.n_layers
        given_ZBI = torch.cat(
            [factors_BK.expand(n_layers, -1, -1), monomials_BZF.transpose(0, 1)], dim=2
        )
        above_ZBO = torch.bmm(given_ZBI, fixed.above_ZIO)
        own_BZO = own_BC.view(count, n_layers, -1)
        nearby_ZBO = self.frame.beside(own_BZO).transpose(0, 1)
        above_ZBO.addcmul_(fixed.own_ZO[:, None], own_BZO.transpose(0, 1))
        above_ZBO.addcmul_(fixed.neighbours_ZO[:, None], nearby_ZBO)
        flat_H = flat_nonzero(above_ZBO > 0)
        row_H = flat_H // above_ZBO.shape[2]
        across_H, layer_H = flat_H - row_H * above_ZBO.shape[2], row_H // count
        shower_H = row_H - layer_H * count
        if place.moves:
            cells_H, inside_H = self.frame.grid_cells(place, shower_H, across_H, layer_H)
            flat_H, row_H, across_H = flat_H[inside_H], row_H[inside_H], across_H[inside_H]
            layer_H, shower_H, cells_H = layer_H[inside_H], shower_H[inside_H], cells_H[inside_H]
        else:
            cells_H = across_H * n_layers + layer_H
        cells_H = cells_H + shower_H * self.grid.n_cells
        return Hits(above_ZBO, flat_H, row_H, shower_H, layer_H, across_H, cells_H)

    def _deposits(self, fixed: Prepared, hits: Hits, monomials_BZF: Tensor, energy_B: Tensor) -> Tensor:
        """Draw how much the hit cells hold (H,) in MeV, before their layers are scaled."""
        across = hits.above_ZBO.shape[2]
        marginals_ZBO = torch.bmm(monomials_BZF.transpose(0, 1), fixed.marginals_ZFO).view(-1)
        first_H = hits.flat_H + (2 * across) * hits.row_H
        threshold_H, location_H, log_width_H = (
            marginals_ZBO.index_select(0, first_H + k * across) for k in range(3)
        )
        threshold_H = threshold_H.clamp(*THRESHOLDS)
        latent_H = hits.above_ZBO.view(-1).index_select(0, hits.flat_H) + threshold_H
        chance_H = normal_cdf(-latent_H) / normal_cdf(-threshold_H)
        own_H = hits.layer_H * across + hits.across_H
        stretched_H = _asinh(-normal_quantile(chance_H)) + fixed.skew_C[own_H]
        standard_H = sinh_arcsinh.bounded_sinh(stretched_H * fixed.tail_C[own_H])
        width_H = torch.exp(log_width_H.clamp(*LOG_WIDTHS))
        log_deposit_H = fixed.inverse_scale(location_H + width_H * standard_H)
        log_deposit_H = torch.minimum(log_deposit_H, fixed.largest_C[own_H])
        return torch.minimum(torch.exp(log_deposit_H), energy_B[hits.shower_H])

    def _layers(
        self, monomials_BF: Tensor, given_BJ: Tensor, latent_BM: Tensor, energy_B: Tensor
    ) -> Tensor:
        """Turn latents of total and shares into the layers' deposits (B, nz) in MeV."""
        location_BM, log_width_BM, skew_BM, log_tail_BM = self.sum_marginals(monomials_BF, given_BJ)
        standard_BM = sinh_arcsinh.from_normal(latent_BM, skew_BM, log_tail_BM)
        drawn_BM = location_BM + torch.exp(log_width_BM) * standard_BM
        share_BZ = (torch.exp(drawn_BM[:, 1:]) - SMALLEST_SHARE).clamp(min=0)
        total_B = energy_B * torch.exp(drawn_BM[:, 0].clamp(max=0))
        return share_BZ * (total_B / share_BZ.sum(1).clamp(min=SMALLEST_SHARE))[:, None]

    def prepare(self) -> None:
        """Work out once what showers have in common; the weights must not change afterwards."""
        self._prepared = self._prepare()

    def _prepare(self) -> Prepared:
        field_OZC = self.frame.expand(self.core, self.halo)
        n_layers, shapes = self.grid.n_layers, 3 * self.n_monomials
        marginals_3FOZ = (
            field_OZC[..., :shapes].reshape(-1, n_layers, 3, self.n_monomials).permute(2, 3, 0, 1)
        )
        marginals_ZF3O = marginals_3FOZ.permute(3, 1, 0, 2).contiguous()
        loadings_CK, variance_C = self.cell_loadings()
        loadings_ZKO = loadings_CK.view(-1, n_layers, self.factors).permute(1, 2, 0)
        sum_loadings_MK, rest_MM = self.sum_loadings()
        share_ZO = self.neighbour_shares()
        own_ZO = torch.sqrt(variance_C.view(-1, n_layers).T / self.frame.noise_variance(share_ZO))
        return Prepared(
            above_ZIO=torch.cat([loadings_ZKO, -marginals_ZF3O[:, :, 0]], dim=1),
            own_ZO=own_ZO,
            neighbours_ZO=own_ZO * share_ZO,
            marginals_ZFO=marginals_ZF3O.flatten(2),
            skew_C=field_OZC[..., shapes].T.flatten(),
            tail_C=torch.exp(-field_OZC[..., shapes + 1]).T.flatten(),
            largest_C=self.largest_R[self.frame.ring_O].repeat(n_layers),
            inverse_scale=self.energy_scale.inverse_scale(),
            sum_loadings_KM=sum_loadings_MK.T,
            rest_root_MM=torch.linalg.cholesky(rest_MM).T,
        )

    def conditions(self, given: Given, place: Place, depth_B: Tensor) -> Tensor:
        """Return the monomials at each layer (B, nz, F); depths as latent normals."""
        x_BZ, y_BZ = (
            offset_BZ / self.frame.offset_spread for offset_BZ in (place.offset_x_BZ, place.offset_y_BZ)
        )
        by_shower = [depth_B]
        if self.tilted:
            by_shower += self._slopes(given).unbind(1)
        if self.particles:
            by_shower.append(_photon(given))
        energy_BZ, *more = (v_B[:, None].expand_as(y_BZ) for v_B in (self._energy(given), *by_shower))
        return monomials(torch.stack([energy_BZ, x_BZ, y_BZ, *more], dim=-1), self.products)

    def of_shower(self, given: Given) -> Tensor:
        """Return the monomials of a shower's conditions alone (B, J): of energy, slope and particle."""
        energy_B = self._energy(given)
        found = [torch.ones_like(energy_B), energy_B, energy_B.clamp(-BEND, BEND).square() - 1]
        if self.tilted:
            found.append(self._slopes(given).square().mean(1) - 1)
        if self.particles:
            found.append(_photon(given))
        return torch.stack(found, dim=1)

    def _energy(self, given: Given) -> Tensor:
        return (torch.log(given.energy_B) - self.spectrum_2[0]) / self.spectrum_2[1]

    def _slopes(self, given: Given) -> Tensor:
        return self.frame.slopes(given) / self.slope_spread

    def depth_marginal(self, given_BJ: Tensor) -> tuple[Tensor, ...]:
        """Return location (layers), log width, skew and log tail, each (B,), of a shower's depth."""
        return (given_BJ @ self.depth_laws.T).unbind(1)

    def marginals(self, monomials_BZF: Tensor) -> CellMarginals:
        """Evaluate the marginals of all cells of the window; cells in C order."""
        field_OZC = self.frame.expand(self.core, self.halo)
        shapes = 3 * self.n_monomials
        by_quantity = torch.split(field_OZC[..., :shapes], self.n_monomials, dim=2)
        if self.tilted:
            found = [
                torch.einsum("bzf,ozf->boz", monomials_BZF, field).flatten(1) for field in by_quantity
            ]
        else:  # the same in every layer
            found = [monomials_BZF[:, 0] @ field.flatten(0, 1).T for field in by_quantity]
        threshold_BC, location_BC, log_width_BC = found
        return CellMarginals(
            threshold_BC.clamp(*THRESHOLDS),
            location_BC,
            log_width_BC.clamp(*LOG_WIDTHS),
            field_OZC[..., shapes].flatten(),
            field_OZC[..., shapes + 1].flatten(),
        )

    def sum_marginals(self, monomials_BF: Tensor, given_BJ: Tensor) -> tuple[Tensor, ...]:
        """Return location, log width, skew, log tail (B, M) of ln(total / energy) and of the layers' log shares."""
        log_width_BM = (monomials_BF @ self.sum_log_width).clamp(-6, 4)
        return (
            monomials_BF @ self.sum_location,
            log_width_BM,
            given_BJ @ self.sum_skew,
            given_BJ @ self.sum_log_tail,
        )

    def cell_loadings(self) -> tuple[Tensor, Tensor]:
        """Return W of the cells of the window (C, K), and the variance (C,) that is a cell's own: 1 in all."""
        loadings_CK = self.frame.expand(self.moments_core, self.moments_halo).flatten(0, 1)
        common_C = (loadings_CK * loadings_CK).sum(1)
        loadings_CK = loadings_CK * torch.sqrt(0.99 / common_C.clamp(min=0.99))[:, None]
        return loadings_CK, (1 - common_C).clamp(min=0.01)

    def neighbour_shares(self) -> Tensor:
        """Return the share of each neighbour's noise in a cell's own (Z, O)."""
        return self.neighbours_RZ[self.frame.ring_O].T

    def sum_loadings(self) -> tuple[Tensor, Tensor]:
        """Return W of total and shares (M, K), and the covariance (M, M) beyond it: unit variances in all."""
        rest_MM = self.covariance_sums - self.moments_sums @ self.moments_sums.T
        size_M, axes_MM = torch.linalg.eigh(rest_MM.double())
        rest_MM = ((axes_MM * size_M.clamp(min=1e-3)) @ axes_MM.T).float()
        scale_M = torch.rsqrt(rest_MM.diagonal() + (self.moments_sums**2).sum(1))
        return self.moments_sums * scale_M[:, None], rest_MM * scale_M[:, None] * scale_M


def _scales(layers_BZ: Tensor, in_layer_H: Tensor, deposit_H: Tensor) -> Tensor:
    """Return by what each layer's hits are scaled (B, nz): all together to the drawn total, layers of many to what was drawn.

    A layer of few hits is as uncertain as they are: to scale it to its drawn energy would move them across thresholds.
    """
    drawn_N = layers_BZ.reshape(-1)
    sums_N = torch.zeros_like(drawn_N).index_add(0, in_layer_H, deposit_H)
    hits_N = torch.zeros_like(drawn_N).index_add(0, in_layer_H, torch.ones_like(deposit_H))
    scale_N = (drawn_N / sums_N.clamp(min=1e-9)) ** (hits_N / (hits_N + MANY_HITS))
    scale_BZ, made_BZ = scale_N.view_as(layers_BZ), (sums_N * scale_N).view_as(layers_BZ)
    return scale_BZ * (layers_BZ.sum(1) / made_BZ.sum(1).clamp(min=1e-9))[:, None]


def depth(deposits_BXYZ: Tensor) -> Tensor:
    """Return the mean layer of the deposits (B,)."""
    layers_BZ = deposits_BXYZ.sum((1, 2))
    number_Z = torch.arange(layers_BZ.shape[1], dtype=layers_BZ.dtype, device=layers_BZ.device)
    return layers_BZ @ number_Z / layers_BZ.sum(1).clamp(min=1e-9)


def _photon(given: Given) -> Tensor:
    """Return 1 for a photon, -1 for an electron or positron (B,)."""
    return torch.where(given.pdg_B == PHOTON, 1.0, -1.0)


def _asinh(x: Tensor) -> Tensor:
    """Return the inverse hyperbolic sine, several times as fast as torch's, and as exact for normal numbers."""
    size = x.abs()
    return torch.copysign(torch.log(size + torch.sqrt(size * size + 1)), x)


def flat_nonzero(true: Tensor) -> Tensor:
    """Return where a tensor, counted through, is true; numpy finds it faster than torch."""
    if true.is_cpu and not torch.compiler.is_compiling():
        return torch.from_numpy(np.flatnonzero(true.numpy()))
    return true.flatten().nonzero()[:, 0]
