"""How latents are tied together: common factors, noise shared by neighbours, and what total and layers share beyond.

Correlations grow with energy: what a shower's cells have in common in their fluctuations of ln(deposit) falls more slowly
than the noise of sampling. So a cell's loadings go as its marginal's width to a negative power, which is learned. The
correlations of total and shares, which are seen whole, are kept at some energies and interpolated between them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from caloforge.models.copula.axis_frame import ShowerFrame

__all__ = ["CellLoadings", "Correlations", "SumLoadings"]

ENERGIES = 6
"""Energies, evenly in their logarithm, at which correlations are known."""

LEAST_OWN = 0.01
"""Of a latent's variance so much at least is its own."""

FIRST = 0.5
"""Loadings to begin with, where a pattern is largest."""

AMPLITUDES = (0.3, 3.0)


class CellLoadings(NamedTuple):
    """Of N cells: W (N, K), by what it is multiplied at each energy (Q, N), and the variance that is a cell's own (Q, N)."""

    loadings_NK: Tensor
    amplitude_QN: Tensor
    own_QN: Tensor

    def of(self, cells_N: Tensor) -> CellLoadings:
        """Return those of some cells."""
        return CellLoadings(
            self.loadings_NK[cells_N], self.amplitude_QN[:, cells_N], self.own_QN[:, cells_N]
        )


class SumLoadings(NamedTuple):
    """Of total and shares at each energy: W (Q, M, K), and the covariance beyond it (Q, M, M)."""

    loadings_QMK: Tensor
    rest_QMM: Tensor


class Correlations(nn.Module):
    """Moments of latents and factors, from which the loadings follow; unit variances in all."""

    sums_QMK: Tensor
    covariance_QMM: Tensor
    neighbours_RZ: Tensor
    energies_Q: Tensor
    steps_seen: Tensor

    def __init__(self, frame: ShowerFrame, factors: int, sums: int) -> None:
        super().__init__()
        core, halo = frame.project(_patterns(frame, factors))
        self.cells_core, self.cells_halo = nn.Parameter(core), nn.Parameter(halo)
        # 1 where fluctuations that are common stay the same at all energies, 0 where they fall as all others.
        self.power = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("sums_QMK", torch.zeros(ENERGIES, sums, factors))
        self.register_buffer("covariance_QMM", torch.eye(sums).repeat(ENERGIES, 1, 1))
        # Share of a neighbour's noise in a cell's own, by distance from the axis and layer.
        self.register_buffer("neighbours_RZ", torch.zeros(frame.rings, frame.shape[2]))
        # As the conditions measure them.
        self.register_buffer("energies_Q", torch.linspace(-2, 2, ENERGIES))
        self.register_buffer("steps_seen", torch.tensor(0))

    def at(self, energy_B: Tensor) -> Tensor:
        """Return the weights (B, Q) of the energies between which a shower's is; beyond the ends the last one's."""
        first, step = self.energies_Q[0], self.energies_Q[1] - self.energies_Q[0]
        place_B = ((energy_B - first) / step).clamp(0, ENERGIES - 1)
        number_Q = torch.arange(ENERGIES, device=energy_B.device)
        return (1 - (place_B[:, None] - number_Q).abs()).clamp(min=0)

    def loadings(self, frame: ShowerFrame) -> Tensor:
        """Return the loadings of cells at an amplitude of 1 (nx * ny, nz, K)."""
        return frame.expand(self.cells_core, self.cells_halo)

    def of_cells(self, frame: ShowerFrame, log_width_QC: Tensor) -> CellLoadings:
        """Return the loadings of all cells, whose marginals have such widths at the energies."""
        loadings_CK = self.loadings(frame).flatten(0, 1)
        common_C = loadings_CK.square().sum(1)
        amplitude_QC = torch.exp(self.power * (log_width_QC.mean(0) - log_width_QC)).clamp(*AMPLITUDES)
        amplitude_QC = torch.minimum(
            amplitude_QC, torch.sqrt((1 - LEAST_OWN) / common_C.clamp(min=LEAST_OWN))
        )
        return CellLoadings(loadings_CK, amplitude_QC, 1 - amplitude_QC**2 * common_C)

    def of_sums(self) -> SumLoadings:
        """Return the loadings of total and shares, and the covariances beyond them, which are positive definite."""
        common_QMM = self.sums_QMK @ self.sums_QMK.mT
        size_QM, axes_QMM = torch.linalg.eigh((self.covariance_QMM - common_QMM).double())
        rest_QMM = ((axes_QMM * size_QM.clamp(min=1e-3)[:, None]) @ axes_QMM.mT).float()
        scale_QM = torch.rsqrt((rest_QMM + common_QMM).diagonal(dim1=1, dim2=2))
        return SumLoadings(
            self.sums_QMK * scale_QM[:, :, None], rest_QMM * scale_QM[:, :, None] * scale_QM[:, None]
        )


def _patterns(frame: ShowerFrame, factors: int) -> Tensor:
    """Return loadings to begin with (nx * ny, nz, K): parts of a shower in depth, near and far from the axis, left and right.

    From random ones the factors would find the long-range order of showers late or never.
    """
    near = [np.exp(-0.5 * (frame.radius / size) ** 2) for size in (0.4, 1.0, 3.0)]
    shapes = [near[0], near[1] - near[0], near[2] - near[1], 0.5 * (1 - near[2])]
    for m, ring in ((1, 1), (1, 2), (2, 1)):
        shapes += [shapes[ring] * wave(m * frame.angle) for wave in (np.cos, np.sin)]
    n_layers = frame.shape[2]
    parts = -(-factors // len(shapes))
    place_Z = (np.arange(n_layers) + 0.5) * parts / n_layers
    bumps = [np.exp(-0.5 * ((place_Z - part - 0.5) / 0.7) ** 2) for part in range(parts)]
    found = [np.outer(shape, bump) for shape in shapes for bump in bumps]
    return FIRST * torch.from_numpy(np.stack(found[:factors], axis=2)).float()
