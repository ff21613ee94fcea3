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
from caloforge.models.copula.axis_frame import Place, ShowerFrame, first_sector
from caloforge.models.copula.conditions import BEND, monomials, products
from caloforge.models.copula.constants import constants, double_precision
from caloforge.models.copula.correlations import CellLoadings, Correlations
from caloforge.models.copula.layer_scaling import scales
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

SINGLES = 4
"""In so many layers the axis' cell has a scale of energies of its own: it is passed by one, two, three particles."""


@dataclass(frozen=True)
class Prepared:
    """What all showers of a model have in common, laid out for making them: layer by layer, then O = wx * wy cells."""

    loadings_ZKO: Tensor
    below_ZFO: Tensor
    """From monomials to minus the thresholds."""
    amplitude_QZO: Tensor
    own_QZO: Tensor
    share_ZO: Tensor
    marginals_ZFO: Tensor
    """From monomials to thresholds, locations and log widths, side by side (Z, F, 3 O)."""
    skew_C: Tensor
    tail_C: Tensor
    """Inverse of exp(log_tail)."""
    largest_C: Tensor
    """Of a cell's ln(deposit / MeV)."""
    inverse_scale: InverseScale
    scale_C: Tensor
    sum_loadings_QKM: Tensor
    rest_root_QMM: Tensor


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
    """``copula``: for showers at any place; ``tilted`` from any direction, ``particles`` for electrons and photons.

    ``turned`` for a cylinder that all hit on its axis: every shower begins in a sector that is drawn first.
    """

    at_once = 32

    largest_R: Tensor
    largest_M: Tensor
    spectrum_2: Tensor
    slope_spread: Tensor
    scale_OZ: Tensor
    products: Tensor

    def __init__(
        self,
        grid: Grid,
        threshold_MeV: float,
        *,
        tilted: bool = False,
        particles: bool = False,
        turned: bool = False,
        factors: int = 64,
    ) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.transform = grid, threshold_MeV, Transform()
        self.tilted, self.particles, self.turned = tilted, particles, turned
        self.frame = ShowerFrame(grid, tilted=tilted)
        self.follows = frozenset(
            ["impact_xy"] * self.frame.has_sizes
            + ["incident_theta", "incident_phi"] * tilted
            + ["pdg_id"] * particles
        )
        self.factors, self.sums = factors, 1 + grid.n_layers
        pairs = products(tilted=tilted, particles=particles)
        self.register_buffer("products", pairs, persistent=False)
        self.n_variables = 4 + 2 * tilted + particles
        n_given = 3 + tilted + particles
        self.n_monomials = self.products.shape[1]
        self.noise_size = factors + self.sums + 1 + turned + grid.n_cells
        # What the sampling fraction of this detector makes of all energy in the sensitive material.
        self.most_per_energy = 1 / float(grid.extra.get("sampling_fraction") or 1)
        self._prepared: Prepared | None = None
        # Marginals of the cells: threshold, location and log width by monomial, then skew and log tail.
        core, halo = self.frame.coefficients(3 * self.n_monomials + 2)
        self.core, self.halo = nn.Parameter(core), nn.Parameter(halo)
        self.energy_scale = EnergyScale(1 + min(SINGLES, grid.n_layers))
        number_Z = np.where(np.arange(grid.n_layers) < SINGLES, np.arange(grid.n_layers) + 1, 0)
        scale_OZ = np.outer(self.frame.radius < 1, number_Z)
        self.register_buffer("scale_OZ", torch.from_numpy(scale_OZ), persistent=False)
        # Marginal of the depth: location, log width, skew and log tail, given energy and angle.
        self.depth_laws = nn.Parameter(torch.zeros(4, n_given))
        # Marginals of ln(total / energy) and of the logarithms of the layers' shares.
        self.sum_location = nn.Parameter(torch.zeros(self.n_monomials, self.sums))
        self.sum_log_width = nn.Parameter(torch.zeros(self.n_monomials, self.sums))
        self.sum_skew = nn.Parameter(torch.zeros(n_given, self.sums))
        self.sum_log_tail = nn.Parameter(torch.zeros(n_given, self.sums))
        self.correlations = Correlations(self.frame, factors, self.sums)
        # The largest ln(deposit / MeV) that was seen, by distance: the tails of marginals know no end.
        self.register_buffer("largest_R", torch.full((self.frame.rings,), math.log(HIGHEST_MEV)))
        # The largest of ln(total / energy) and of the logarithms of the shares.
        self.register_buffer("largest_M", torch.zeros(self.sums))
        # What the conditions are measured by.
        self.register_buffer("spectrum_2", torch.tensor([0.0, 1.0]))
        self.register_buffer("slope_spread", torch.tensor(1.0))

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Make deposits (B, nx, ny, nz) in MeV from standard normal noise."""
        fixed = self._prepared or self._prepare()
        energy_B = given.energy_B
        sizes = [self.factors, self.sums, 1, int(self.turned), self.grid.n_cells]
        factors_BK, sums_BM, depth_B1, turn_B1, own_BC = torch.split(noise_BL, sizes, dim=1)
        place = self.frame.place(given, self._sector(turn_B1) if self.turned else None)
        monomials_BZF = self.conditions(given, place, depth_B1[:, 0])
        at_BQ = self.correlations.at(self._energy(given))
        hits = self._hits(fixed, place, monomials_BZF, factors_BK, own_BC, at_BQ)
        deposit_H = self._deposits(fixed, hits, monomials_BZF, energy_B)

        given_BJ = self.of_shower(given)
        latent_BM = torch.einsum("bq,bk,qkm->bm", at_BQ, factors_BK, fixed.sum_loadings_QKM)
        latent_BM = latent_BM + torch.einsum("bq,bn,qnm->bm", at_BQ, sums_BM, fixed.rest_root_QMM)
        layers_BZ = self._layers(monomials_BZF[:, 0], given_BJ, latent_BM, energy_B)
        in_layer_H = hits.shower_H * self.grid.n_layers + hits.layer_H
        scale_BZ = scales(layers_BZ, in_layer_H, deposit_H)
        deposits_N = energy_B.new_zeros(energy_B.shape[0] * self.grid.n_cells)
        deposits_N = deposits_N.index_copy_(0, hits.cells_H, deposit_H * scale_BZ.view(-1)[in_layer_H])
        return deposits_N.view(-1, *self.grid.shape)

    def place(self, given: Given, deposits_BXYZ: Tensor) -> Place:
        """Return where showers that were made are: their axes, and on a cylinder the sector in which they begin."""
        return self.frame.place(given, first_sector(deposits_BXYZ) if self.turned else None)

    def _sector(self, turn_B1: Tensor) -> Tensor:
        """Draw a sector, each as likely as the others."""
        sectors = self.grid.shape[1]
        return (normal_cdf(turn_B1[:, 0]) * sectors).long().clamp(0, sectors - 1)

    def _hits(
        self,
        fixed: Prepared,
        place: Place,
        monomials_BZF: Tensor,
        factors_BK: Tensor,
        own_BC: Tensor,
        at_BQ: Tensor,
    ) -> Hits:
        """Find the cells whose latents exceed their thresholds: all of the window are looked at."""
        count, n_layers = own_BC.shape[0], self.grid.n_layers
        above_ZBO = factors_BK.expand(n_layers, -1, -1) @ fixed.loadings_ZKO
        amplitude_BZO = (at_BQ @ fixed.amplitude_QZO.flatten(1)).view(count, n_layers, -1)
        above_ZBO *= amplitude_BZO.transpose(0, 1)
        above_ZBO += torch.bmm(monomials_BZF.transpose(0, 1), fixed.below_ZFO)
        own_BZO = own_BC.view(count, n_layers, -1)
        noise_BZO = torch.addcmul(own_BZO, fixed.share_ZO, self.frame.beside(own_BZO))
        noise_BZO *= (at_BQ @ fixed.own_QZO.flatten(1)).view(count, n_layers, -1)
        above_ZBO += noise_BZO.transpose(0, 1)
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
        log_deposit_H = fixed.inverse_scale(location_H + width_H * standard_H, fixed.scale_C[own_H])
        log_deposit_H = torch.minimum(log_deposit_H, fixed.largest_C[own_H])
        return torch.minimum(torch.exp(log_deposit_H), self.most_per_energy * energy_B[hits.shower_H])

    def _layers(
        self, monomials_BF: Tensor, given_BJ: Tensor, latent_BM: Tensor, energy_B: Tensor
    ) -> Tensor:
        """Turn latents of total and shares into the layers' deposits (B, nz) in MeV."""
        location_BM, log_width_BM, skew_BM, log_tail_BM = self.sum_marginals(monomials_BF, given_BJ)
        standard_BM = sinh_arcsinh.from_normal(latent_BM, skew_BM, log_tail_BM)
        drawn_BM = torch.minimum(location_BM + torch.exp(log_width_BM) * standard_BM, self.largest_M)
        share_BZ = (torch.exp(drawn_BM[:, 1:]) - SMALLEST_SHARE).clamp(min=0)
        total_B = energy_B * torch.exp(drawn_BM[:, 0])
        return share_BZ * (total_B / share_BZ.sum(1).clamp(min=SMALLEST_SHARE))[:, None]

    def prepare(self) -> None:
        """Work out once what showers have in common; the weights must not change afterwards."""
        self._prepared = self._prepare()

    @torch.no_grad()
    def constants(self) -> dict[str, Tensor]:
        """Return what sampling needs, laid out for :mod:`caloforge.export.native`."""
        return constants(self, self._prepared or self._prepare())

    @torch.no_grad()
    def double_precision(self) -> FactorCopula:
        """Return a model that computes with the same constants in double precision."""
        return double_precision(self, self._prepared or self._prepare())

    def _prepare(self) -> Prepared:
        field_OZC = self.frame.expand(self.core, self.halo)
        n_layers, shapes = self.grid.n_layers, 3 * self.n_monomials

        def by_layer(values_QC: Tensor) -> Tensor:
            return values_QC.view(len(values_QC), -1, n_layers).transpose(1, 2).contiguous()

        marginals_3FOZ = (
            field_OZC[..., :shapes].reshape(-1, n_layers, 3, self.n_monomials).permute(2, 3, 0, 1)
        )
        marginals_ZF3O = marginals_3FOZ.permute(3, 1, 0, 2).contiguous()
        cells, sums = self.cell_loadings(), self.correlations.of_sums()
        share_ZO = self.neighbour_shares()
        own_QZO = torch.sqrt(by_layer(cells.own_QN) / self.frame.noise_variance(share_ZO))
        return Prepared(
            loadings_ZKO=cells.loadings_NK.view(-1, n_layers, self.factors)
            .permute(1, 2, 0)
            .contiguous(),
            below_ZFO=-marginals_ZF3O[:, :, 0],
            amplitude_QZO=by_layer(cells.amplitude_QN),
            own_QZO=own_QZO,
            share_ZO=share_ZO,
            marginals_ZFO=marginals_ZF3O.flatten(2),
            skew_C=field_OZC[..., shapes].T.flatten(),
            tail_C=torch.exp(-field_OZC[..., shapes + 1]).T.flatten(),
            largest_C=self.largest_R[self.frame.ring_O].repeat(n_layers),
            inverse_scale=self.energy_scale.inverse_scale(),
            scale_C=self.scale_OZ.T.flatten(),
            sum_loadings_QKM=sums.loadings_QMK.mT.contiguous(),
            rest_root_QMM=torch.linalg.cholesky(sums.rest_QMM).mT.contiguous(),
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

    def cell_loadings(self) -> CellLoadings:
        """Return the loadings of the cells of the window.

        Their widths are those of a middling shower in the middle of a cell, as far as the cell is hit: those of rare hits
        say what one particle leaves.
        """
        laws_CT = self.frame.expand(self.core, self.halo).detach().flatten(0, 1)
        laws_C3F = laws_CT[:, : 3 * self.n_monomials].reshape(self.grid.n_cells, 3, -1)
        energy_Q = self.correlations.energies_Q
        others = energy_Q.new_zeros(len(energy_Q), 1, self.n_variables - 1)
        variables_Q1V = torch.cat([energy_Q[:, None, None], others], dim=2)
        monomials_QF = monomials(variables_Q1V, self.products)[:, 0]
        threshold_QC, width_QC = (monomials_QF @ laws_C3F[:, k].T for k in (0, 2))
        return self.correlations.of_cells(self.frame, width_QC * normal_cdf(-threshold_QC.mean(0)))

    def neighbour_shares(self) -> Tensor:
        """Return the share of each neighbour's noise in a cell's own (Z, O)."""
        return self.correlations.neighbours_RZ[self.frame.ring_O].T


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
