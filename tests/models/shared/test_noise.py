from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from caloforge.models.shared.noise import Uniforms, normal_rows


@given(width=st.integers(1, 40), first=st.integers(0, 2**40), count=st.integers(0, 5))
def test_a_shower_has_its_noise_in_whatever_batch_it_is_made(width: int, first: int, count: int) -> None:
    together = normal_rows(width, first, count, 1, "noise")
    assert together.shape == (count, width)
    for i in range(count):
        alone = normal_rows(width, first + i, 1, 1, "noise")[0]
        torch.testing.assert_close(together[i], alone, rtol=0, atol=1e-5)


def test_numbers_are_normal_and_independent() -> None:
    numbers = normal_rows(1000, 0, 1000, 7, "noise").numpy().astype(np.float64)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    for far in (3.0, 4.0, 4.5):
        found, expected = (np.abs(numbers) > far).sum(), 2e6 * stats.norm.sf(far)
        assert abs(found - expected) < 4 * np.sqrt(expected)
    # The two of a pair, neighbours, and a number's place in two showers.
    for one, other in (
        (numbers[:, :500], numbers[:, 500:]),
        (numbers[:, :-1], numbers[:, 1:]),
        (numbers[:-1], numbers[1:]),
    ):
        for power in (1, 2):
            r = np.corrcoef(one.ravel() ** power, other.ravel() ** power)[0, 1]
            assert abs(r) < 4 / np.sqrt(one.size)


def test_another_seed_or_shower_has_other_numbers() -> None:
    assert not torch.equal(normal_rows(8, 0, 1, 1, "noise"), normal_rows(8, 0, 1, 2, "noise"))
    assert not torch.equal(normal_rows(8, 0, 1, 1, "noise"), normal_rows(8, 1, 1, 1, "noise"))


def test_uniform_numbers_are_uniform_and_follow_from_the_seed() -> None:
    like = torch.empty(999, 1001)  # an odd number of them
    draw, again, other = Uniforms(5, like), Uniforms(5, like), Uniforms(6, like)
    first, second = draw(), draw()
    assert first.shape == like.shape
    assert torch.equal(again(), first)
    assert torch.equal(again(), second)
    assert not torch.equal(other(), first)
    for numbers in (first, second):
        assert 0 <= float(numbers.min()) < 1e-5
        assert 1 - 1e-5 < float(numbers.max()) <= 1
        assert stats.kstest(numbers.numpy().ravel(), "uniform").pvalue > 1e-3
    for one, two in ((first, second), (first[:, :-1], first[:, 1:])):
        assert abs(np.corrcoef(one.numpy().ravel(), two.numpy().ravel())[0, 1]) < 4 / 1000
