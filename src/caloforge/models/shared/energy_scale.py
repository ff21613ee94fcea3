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
    """From the common scale to ln(deposit / MeV), by a table with equal steps: quick to look up."""

    lowest: Tensor
    step: Tensor
    values_T: Tensor

    def __call__(self, mapped_H: Tensor) -> Tensor:
        """Map back (H,), linearly between the table's entries and beyond its ends."""
        place_H = (mapped_H - self.lowest) / self.step
        piece_H = place_H.clamp(0, len(self.values_T) - 2).long()
        low_H = self.values_T[piece_H]
        return low_H + (place_H - piece_H) * (self.values_T[piece_H + 1] - low_H)


class EnergyScale(nn.Module):
    """A monotone, piecewise linear map of ln(deposit / MeV), learned; at first it changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lowest = math.log(LOWEST_MEV)
        pieces = math.ceil((math.log(HIGHEST_MEV) - self.lowest) / STEP)
        self.log_slope = nn.Parameter(torch.zeros(pieces))

    def forward(self, log_H: Tensor) -> tuple[Tensor, Tensor]:
        """Map logarithms (H,); also give the logarithm of the map's slope there."""
        piece_H = ((log_H.detach() - self.lowest) / STEP).long().clamp(0, len(self.log_slope) - 1)
        log_slope_H = self.log_slope[piece_H]
        within_H = log_H - (self.lowest + STEP * piece_H)
        return self._knots()[piece_H] + within_H * torch.exp(log_slope_H), log_slope_H

    def inverse(self, mapped_H: Tensor) -> Tensor:
        """Undo the map."""
        knots = self._knots()
        piece_H = torch.searchsorted(knots[1:-1], mapped_H, right=True)
        within_H = (mapped_H - knots[piece_H]) * torch.exp(-self.log_slope)[piece_H]
        return self.lowest + STEP * piece_H + within_H

    def inverse_scale(self) -> InverseScale:
        """Tabulate :meth:`inverse`."""
        knots = self._knots()
        lowest, step = knots[0], (knots[-1] - knots[0]) / (TABLE - 1)
        return InverseScale(lowest, step, self.inverse(lowest + step * torch.arange(TABLE).to(knots)))

    def _knots(self) -> Tensor:
        steps = STEP * torch.exp(self.log_slope)
        return self.lowest + torch.cat([steps.new_zeros(1), torch.cumsum(steps, 0)])
