"""A critic that sees a shower's cells and its observables, and judges them by the conditions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from caloforge.detector import Grid
from caloforge.models.mixer.layer_energies import FEATURES, energy_features
from caloforge.models.mixer.patches import Patches
from caloforge.showers.batch import Batch

__all__ = ["ShowerCritic", "View"]

WIDTH = 64
HITS_MEV = (0.1, 1.0, 10.0)
"""Deposits that count as half a hit."""

View = tuple[Tensor, Tensor]
"""Cells (B, P, C) and observables (B, O) as the critic sees them."""


class Layer(nn.Module):
    """Mixes tokens and channels without any normalisation, as gradient penalties want it."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens, self.channels = nn.Linear(tokens, tokens), nn.Linear(width, width)

    def forward(self, x_BPW: Tensor) -> Tensor:
        """Add what the neighbours and the channels say."""
        x_BPW = x_BPW + leaky_relu(self.tokens(x_BPW.transpose(1, 2)), 0.2).transpose(1, 2)
        return x_BPW + leaky_relu(self.channels(x_BPW), 0.2)


class ShowerCritic(nn.Module):
    """Judges showers (B,): the higher, the more like real ones. No part of it depends on the batch.

    Observables are measured by their mean (a polynomial of the conditions) and spread over real showers.
    """

    spectrum_2: Tensor
    unit_MeV: Tensor
    mean_FO: Tensor
    spread_O: Tensor
    x_X: Tensor
    y_Y: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.patches = Patches(grid)
        nz = grid.n_layers
        observables = nz * (5 + len(HITS_MEV)) + 5
        self.register_buffer("spectrum_2", torch.tensor([0.0, 1.0]))
        self.register_buffer("unit_MeV", torch.tensor(1.0))
        self.register_buffer("mean_FO", torch.zeros(FEATURES, observables))
        self.register_buffer("spread_O", torch.ones(observables))
        x, y = (torch.arange(n) - 0.5 * (n - 1) for n in grid.shape[:2])
        self.register_buffer("x_X", x, persistent=False)
        self.register_buffer("y_Y", y, persistent=False)
        conditions = FEATURES + 2
        self.cells = nn.Linear(2 * self.patches.cells, WIDTH)
        self.place_PW = nn.Parameter(0.5 * torch.randn(self.patches.count, WIDTH))
        self.given = nn.Linear(conditions, WIDTH)
        self.layers = nn.Sequential(*(Layer(self.patches.count, WIDTH) for _ in range(2)))
        self.observables = nn.Sequential(
            nn.Linear(observables + conditions, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 128),
            nn.LeakyReLU(0.2),
        )
        self.judge = nn.Sequential(nn.Linear(WIDTH + 128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def conditions(self, energy_B: Tensor, impact_B2: Tensor) -> Tensor:
        """Return what the critic knows of the particle, (B, F + 2); impact points in mm."""
        size_2 = torch.tensor(self.grid.cell_size or (1.0, 1.0), device=impact_B2.device)
        return torch.cat([energy_features(energy_B, self.spectrum_2), 12**0.5 * impact_B2 / size_2], 1)

    def view(self, deposits_BXYZ: Tensor, energy_B: Tensor) -> View:
        """Look at deposits in MeV; differentiable."""
        height = torch.log1p(deposits_BXYZ / self.unit_MeV)
        cells = torch.cat([self.patches(0.5 * height), self.patches(height / (height + 0.3))], 2)
        features_BF = energy_features(energy_B, self.spectrum_2)
        seen = (self._observe(deposits_BXYZ, energy_B) - features_BF @ self.mean_FO) / self.spread_O
        return cells, seen

    def forward(self, view: View, conditions_BF: Tensor) -> Tensor:
        """Judge."""
        cells_BPC, observables_BO = view
        tokens = self.cells(cells_BPC) + self.place_PW + self.given(conditions_BF)[:, None]
        seen_BW = self.layers(leaky_relu(tokens, 0.2)).mean(1)
        other_BW = self.observables(torch.cat([observables_BO, conditions_BF], 1))
        judged: Tensor = self.judge(torch.cat([seen_BW, other_BW], 1))[:, 0]
        return judged

    @torch.no_grad()
    def begin(self, showers: Batch) -> None:
        """Take the scales from real showers."""
        deposits_BXYZ, energy_B = showers.deposits_BXYZ, showers.given.energy_B
        log_energy_B = torch.log(energy_B)
        self.spectrum_2.copy_(torch.stack([log_energy_B.mean(), log_energy_B.std().clamp(min=1e-3)]))
        hits_H = deposits_BXYZ[deposits_BXYZ > 0]
        self.unit_MeV.copy_(0.4 * hits_H.median() if len(hits_H) else self.unit_MeV)
        features_BF = energy_features(energy_B, self.spectrum_2)
        seen_BO = self._observe(deposits_BXYZ, energy_B)
        ridge = 1e-3 * torch.eye(features_BF.shape[1])
        self.mean_FO.copy_(
            torch.linalg.solve(features_BF.T @ features_BF + ridge, features_BF.T @ seen_BO)
        )
        self.spread_O.copy_((seen_BO - features_BF @ self.mean_FO).std(0).clamp(min=1e-3))

    def _observe(self, deposits_BXYZ: Tensor, energy_B: Tensor) -> Tensor:
        """Measure energies, hits, barycentres and widths of the layers, then of the whole shower."""
        unit = 0.1 * self.unit_MeV
        along_BXZ, along_BYZ = deposits_BXYZ.sum(2), deposits_BXYZ.sum(1)
        layer_BZ = along_BXZ.sum(1)
        sum_BZ = layer_BZ + unit
        x_BZ = torch.einsum("bxz,x->bz", along_BXZ, self.x_X) / sum_BZ
        y_BZ = torch.einsum("byz,y->bz", along_BYZ, self.y_Y) / sum_BZ
        xx_BZ = torch.einsum("bxz,x->bz", along_BXZ, self.x_X**2) / sum_BZ - x_BZ**2
        yy_BZ = torch.einsum("byz,y->bz", along_BYZ, self.y_Y**2) / sum_BZ - y_BZ**2
        total_B1 = layer_BZ.sum(1, keepdim=True) + unit
        depth_Z = torch.arange(self.grid.n_layers, device=layer_BZ.device, dtype=layer_BZ.dtype)
        depth_B1 = (layer_BZ * depth_Z).sum(1, keepdim=True) / total_B1
        length_B1 = (layer_BZ * (depth_Z - depth_B1) ** 2).sum(1, keepdim=True) / total_B1
        hits = [(deposits_BXYZ / (deposits_BXYZ + half)).sum((1, 2)) for half in HITS_MEV]
        found = [
            torch.log(sum_BZ),
            *(torch.log(h + 1) for h in hits),
            x_BZ,
            y_BZ,
            torch.sqrt(xx_BZ.clamp(min=0) + 0.01),
            torch.sqrt(yy_BZ.clamp(min=0) + 0.01),
            torch.log(total_B1 / energy_B[:, None]),
            depth_B1,
            torch.sqrt(length_B1 + 0.01),
            torch.log(hits[0].sum(1, keepdim=True) + 1),
            torch.log(hits[2].sum(1, keepdim=True) + 1),
        ]
        return torch.cat(found, 1)
