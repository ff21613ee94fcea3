"""Standard normal numbers for showers: many, fast, and the same for a shower in whatever batch it is made."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from caloforge.streams import words

__all__ = ["normal_rows"]


def normal_rows(width: int, first: int, count: int, seed: int, *address: str | int) -> Tensor:
    """Draw rows ``first``, ``first + 1``, ... of a table of standard normal numbers (count, width).

    A pair of 32-bit words, a radius and an angle, gives a pair of numbers, none farther than 6.7 from zero.

    Source: G. E. P. Box, M. E. Muller, Ann. Math. Stat. 29 (1958) 610.
    """
    pairs = -(-width // 2)
    bits_BW = torch.from_numpy(words(pairs, first, count, seed, *address).view(np.int32))
    numbers_B2P = bits_BW.float().view(count, 2, pairs)
    radius_BP, angle_BP = numbers_B2P.unbind(1)
    radius_BP.abs_().mul_(2.0**-31).clamp_(min=2.0**-32).log_().mul_(-2).sqrt_()
    angle_BP.mul_(math.pi * 2.0**-31)
    sines_BP = torch.sin(angle_BP).mul_(radius_BP)
    angle_BP.cos_().mul_(radius_BP)
    radius_BP.copy_(sines_BP)
    return numbers_B2P.view(count, 2 * pairs)[:, :width]
