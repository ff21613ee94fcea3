"""Noise that any program can make again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caloforge.export.counter_noise import normal_rows, normals_of_latents, philox

WORD = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "wanted"),
    [
        ((0, 0), 0, (0xFF1DAE59, 0x6CD10DF2)),
        ((WORD, WORD), WORD, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_philox_gives_the_published_words(
    counter: tuple[int, int], key: int, wanted: tuple[int, int]
) -> None:
    """Known answers of Random123, philox2x32-10."""
    first, second = philox(*(torch.tensor([word]) for word in (*counter, key)))
    assert (int(first), int(second)) == wanted


@given(st.integers(0, WORD), st.integers(0, WORD), st.integers(0, WORD))
def test_words_are_those_of_whole_products(first: int, second: int, key: int) -> None:
    """The halves of which products are made lose nothing."""
    words = philox(*(torch.tensor([word]) for word in (first, second, key)))
    for _ in range(10):
        product = 0xD256D193 * first
        first, second = (product >> 32) ^ key ^ second, product & WORD
        key = (key + 0x9E3779B9) & WORD
    assert tuple(map(int, words)) == (first, second)


def test_rows_are_standard_normal_and_differ() -> None:
    rows = normal_rows(9999, 40, 7).numpy()
    assert rows.shape == (40, 9999)
    assert abs(rows.mean()) < 5 / np.sqrt(rows.size)
    assert abs(rows.std() - 1) < 5 / np.sqrt(2 * rows.size)
    assert abs((rows**4).mean() - 3) < 0.05
    assert np.abs(np.corrcoef(rows) - np.eye(40)).max() < 6 / np.sqrt(9999)
    assert np.array_equal(normal_rows(9999, 3, 7).numpy(), rows[:3])
    assert not np.array_equal(normal_rows(9999, 3, 8).numpy(), rows[:3])


def test_a_few_numbers_decide_many() -> None:
    latents = torch.randn(40, 10, generator=torch.Generator().manual_seed(1))
    made = normals_of_latents(latents, 5001).numpy()
    assert np.array_equal(normals_of_latents(latents[3:4], 5001).numpy(), made[3:4])
    assert abs(made.mean()) < 5 / np.sqrt(made.size)
    assert np.abs(np.corrcoef(made) - np.eye(40)).max() < 6 / np.sqrt(5001)


@given(st.integers(0, 9), st.integers(0, 10**6))
def test_each_of_a_few_numbers_changes_all(place: int, seed: int) -> None:
    latents = torch.randn(1, 10, generator=torch.Generator().manual_seed(seed))
    other = latents.clone()
    other[0, place] += 1e-4
    before, after = (normals_of_latents(x, 2000).numpy()[0] for x in (latents, other))
    assert np.isfinite(after).all()
    assert abs(np.corrcoef(before, after)[0, 1]) < 6 / np.sqrt(2000)
