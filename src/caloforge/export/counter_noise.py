"""Normal numbers that any program can make again: a counter-based generator in integer arithmetic alone.

Golden showers are made from it, so that a C++ program needs no file of noise to check an export by; a graph can
hold it, so that a few numbers from Geant4's engine decide a whole shower.

Source: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11 (2011), Philox2x32-10.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["normal_rows", "normals_of_latents", "philox"]

WORD = 0xFFFFFFFF
MULTIPLIER, KEY_STEP, ROUNDS = 0xD256D193, 0x9E3779B9, 10


def philox(first: Tensor, second: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Turn counters (two words) and a key (one) into two random words; words of 32 bits in int64.

    The product is made of halves: a signed integer of 64 bits would not hold it.
    """
    for _ in range(ROUNDS):
        by_low, by_high = first * (MULTIPLIER & 0xFFFF), first * (MULTIPLIER >> 16)
        high = (by_high + (by_low >> 16)) >> 16
        low = (by_low + ((by_high & 0xFFFF) << 16)) & WORD
        first, second = high ^ key ^ second, low
        key = (key + KEY_STEP) & WORD
    return first, second


def _normals(count: int, second_B1: Tensor, key_B1: Tensor) -> Tensor:
    """Return ``count`` numbers of each row (B, count): of words i of the counter numbers 2i and 2i + 1 come."""
    index_BI = torch.arange(-(-count // 2)) + 0 * second_B1
    radius_BI, angle_BI = philox(index_BI, second_B1 + 0 * index_BI, key_B1)
    radius_BI = torch.sqrt(-2 * torch.log((radius_BI.float() + 1) * 2.0**-32))
    angle_BI = angle_BI.float() * (math.pi * 2.0**-31)
    pairs_BI2 = torch.stack([radius_BI * torch.cos(angle_BI), radius_BI * torch.sin(angle_BI)], dim=2)
    return pairs_BI2.flatten(1)[:, :count]


def normal_rows(count: int, rows: int, key: int) -> Tensor:
    """Return standard normal numbers (rows, count); a row's number is the second word of its counters."""
    return _normals(count, torch.arange(rows)[:, None], torch.tensor([[key]]))


def normals_of_latents(latents_BK: Tensor, count: int) -> Tensor:
    """Return ``count`` standard normal numbers (B, count) that follow from a few, an even number of them.

    Each pair of latents is a counter whose key is the pair's number; the sums of what comes out are counter and key of the rest.
    """
    words_BK = torch.floor((latents_BK + 16) * 2.0**27).long() & WORD
    pair_J = torch.arange(latents_BK.shape[1] // 2)
    first_BJ, second_BJ = philox(words_BK[:, 0::2], words_BK[:, 1::2], pair_J)
    second_B1, key_B1 = (word_BJ.sum(1, keepdim=True) & WORD for word_BJ in (first_BJ, second_BJ))
    return _normals(count, second_B1, key_B1)
