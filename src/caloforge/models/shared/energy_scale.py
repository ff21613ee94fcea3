"""A common scale of cell energies in which spectra are smooth: the peak of single particles is stretched flat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["HIGHEST_MEV", "EnergyScale", "InverseScale"]

LOWEST_MEV, HIGHEST_MEV = 1e-3, 3e3
STEP = 0.15
"""Width of a piece in ln(MeV)."""

TABLE = 4096


@dataclass(frozen=True)
class InverseScale:
    """From the common scales to ln(deposit / MeV), by tables with equal steps: quick to look up."""

    lowest: Tensor
    step_S: Tensor
    values_ST: Tensor

    def __call__(self, mapped_H: Tensor, scale_H: Tensor | None = None) -> Tensor:
        """Map back (H,) from the scales of numbers ``scale_H``, linearly between a table's entries and beyond its ends."""
        _, table = self.values_ST.shape
        step_H, first_H = (
            (self.step_S, 0) if scale_H is None else (self.step_S[scale_H], scale_H * table)
        )
        place_H = (mapped_H - self.lowest) / step_H
        piece_H = place_H.clamp(0, table - 2).long()
        values = self.values_ST.view(-1)
        low_H, high_H = values[piece_H + first_H], values[piece_H + (first_H + 1)]
        return low_H + (place_H - piece_H) * (high_H - low_H)


class EnergyScale(nn.Module):
    """Monotone, piecewise linear maps of ln(deposit / MeV), learned; at first they change nothing."""

    def __init__(self, scales: int = 1) -> None:
        super().__init__()
        self.lowest = math.log(LOWEST_MEV)
        self.pieces = math.ceil((math.log(HIGHEST_MEV) - self.lowest) / STEP)
        self.log_slope = nn.Parameter(torch.zeros(scales * self.pieces))

    def forward(self, log_H: Tensor, scale_H: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map logarithms (H,) by the scales of numbers ``scale_H``; also give the logarithm of the map's slope there."""
        piece_H = ((log_H.detach() - self.lowest) / STEP).long().clamp(0, self.pieces - 1)
        within_H = log_H - (self.lowest + STEP * piece_H)
        if scale_H is not None:
            piece_H = piece_H + scale_H * self.pieces
        log_slope_H = self.log_slope[piece_H]
        return self._knots()[:, :-1].flatten()[piece_H] + within_H * torch.exp(log_slope_H), log_slope_H

    def inverse(self, mapped_SN: Tensor) -> Tensor:
        """Undo each map for its row of numbers."""
        knots_SP = self._knots()
        piece_SN = torch.searchsorted(knots_SP[:, 1:-1].contiguous(), mapped_SN.contiguous(), right=True)
        within_SN = mapped_SN - knots_SP.gather(1, piece_SN)
        within_SN = within_SN * torch.exp(-self.log_slope.view(-1, self.pieces).gather(1, piece_SN))
        return self.lowest + STEP * piece_SN + within_SN

    def inverse_scale(self) -> InverseScale:
        """Tabulate :meth:`inverse`."""
        knots_SP = self._knots()
        step_S = (knots_SP[:, -1] - knots_SP[:, 0]) / (TABLE - 1)
        places_ST = knots_SP[:, :1] + step_S[:, None] * torch.arange(TABLE).to(knots_SP)
        return InverseScale(knots_SP[0, 0], step_S, self.inverse(places_ST))

    def _knots(self) -> Tensor:
        steps_SP = STEP * torch.exp(self.log_slope.view(-1, self.pieces))
        return self.lowest + torch.cat(
            [steps_SP.new_zeros(len(steps_SP), 1), torch.cumsum(steps_SP, 1)], 1
        )
