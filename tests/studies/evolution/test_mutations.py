from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from studies.evolution.mutations import MOST_HIDDEN, MUTATIONS, WIDEST, cross
from studies.evolution.networks import (
    Architecture,
    Weights,
    first_weights,
    predict,
    weight_scales,
)

SHOWERS = torch.from_numpy(np.random.default_rng(1).exponential(size=(7, 4, 6)).astype(np.float32))

architectures = st.builds(
    Architecture,
    patches=st.just(4),
    cells=st.just(6),
    channels=st.integers(1, 5),
    hidden=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple),
    bias=st.booleans(),
)


def predict_all(architecture: Architecture, *weights: Weights) -> torch.Tensor:
    return predict(architecture, torch.from_numpy(np.stack(weights)), SHOWERS)


def drawn(architecture: Architecture, seed: int) -> Weights:
    """Weights with bias terms that are not zero."""
    scales_W = weight_scales(architecture)
    noise_W = np.random.default_rng(seed).standard_normal(architecture.n_weights, np.float32)
    return scales_W * noise_W


@given(architectures, st.integers(0, 2**32), st.sampled_from(["widen", "deepen"]))
def test_growth_keeps_the_function(architecture: Architecture, seed: int, kind: str) -> None:
    weights_W = drawn(architecture, seed)
    grown, grown_W = MUTATIONS[kind](architecture, weights_W, 0.5, np.random.default_rng(seed))
    assert grown_W.dtype == np.float32
    assert len(grown_W) == grown.n_weights > architecture.n_weights
    before, after = predict_all(architecture, weights_W), predict_all(grown, grown_W)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@given(architectures, st.integers(0, 2**32))
def test_narrowing_undoes_widening_of_a_unit_nobody_listens_to(
    architecture: Architecture, seed: int
) -> None:
    weights_W = drawn(architecture, seed)
    narrowed, narrowed_W = MUTATIONS["narrow"](architecture, weights_W, 0.5, np.random.default_rng(seed))
    assert len(narrowed_W) == narrowed.n_weights <= architecture.n_weights
    widths = sum(architecture.hidden) + architecture.channels
    assert sum(narrowed.hidden) + narrowed.channels in (widths, widths - 1)
    assert predict_all(narrowed, narrowed_W).isfinite().all()


def test_nothing_grows_beyond_its_limits() -> None:
    widest = Architecture(4, 6, WIDEST, (WIDEST,) * MOST_HIDDEN)
    weights_W = drawn(widest, 1)
    for kind in ("widen", "deepen"):
        for seed in range(5):
            draws = np.random.default_rng(seed)
            assert MUTATIONS[kind](widest, weights_W, 0.5, draws)[0] == widest


@given(architectures, st.integers(0, 2**32), st.floats(1e-4, 1))
def test_mutations_change_what_they_say(architecture: Architecture, seed: int, rate: float) -> None:
    weights_W = drawn(architecture, seed + 1)
    kept_W = weights_W.copy()
    for kind in ("update", "renew"):
        same, mutated_W = MUTATIONS[kind](architecture, weights_W, rate, np.random.default_rng(seed))
        assert same == architecture
        assert mutated_W.dtype == np.float32
        changed = int((mutated_W != weights_W).sum())
        if kind == "renew":
            assert changed == max(1, round(rate * len(weights_W)))
        else:
            scaled = (mutated_W - weights_W) / weight_scales(architecture)
            assert np.abs(scaled).max() < 7 * rate + 1e-5
            assert changed > 0
    np.testing.assert_array_equal(weights_W, kept_W)


def test_networks_in_a_population_answer_as_alone() -> None:
    for bias in (False, True):
        architecture = Architecture(4, 6, 3, (5, 2), bias)
        several = [drawn(architecture, seed) for seed in range(3)]
        together = predict_all(architecture, *several)
        assert together.shape == (3, 7)
        for row, weights_W in zip(together, several, strict=True):
            torch.testing.assert_close(row, predict_all(architecture, weights_W)[0])


def test_without_bias_the_answer_doubles_with_the_deposits() -> None:
    architecture = Architecture(4, 6)
    weights = torch.from_numpy(drawn(architecture, 1))[None]
    once, twice = (predict(architecture, weights, n * SHOWERS) for n in (1, 2))
    torch.testing.assert_close(twice, 2 * once)


def test_counts_are_those_of_the_layers() -> None:
    architecture = Architecture(4, 6, 3, (5, 2), bias=True)
    assert architecture.n_weights == 7 * 3 + 13 * 5 + 6 * 2 + 3
    assert architecture.multiply_adds == 4 * 6 * 3 + 12 * 5 + 5 * 2 + 2
    first_W = first_weights(architecture, np.random.default_rng(1))
    assert [bool((layer[-1] == 0).all()) for layer in architecture.split(first_W)] == [True] * 4


def test_a_child_of_two_has_the_weights_of_both() -> None:
    one_W, other_W = np.zeros(1000, np.float32), np.ones(1000, np.float32)
    assert 400 < cross(one_W, other_W, np.random.default_rng(1)).sum() < 600


@pytest.mark.parametrize("kind", list(MUTATIONS))
def test_equal_draws_give_equal_bits(kind: str) -> None:
    architecture = Architecture(4, 6, 3, (5, 2))
    weights_W = drawn(architecture, 1)
    one, other = (
        MUTATIONS[kind](architecture, weights_W, 0.1, np.random.default_rng(5)) for _ in range(2)
    )
    assert one[0] == other[0]
    assert one[1].tobytes() == other[1].tobytes()
