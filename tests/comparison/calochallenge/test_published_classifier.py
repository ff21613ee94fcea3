"""The published classifier: its training beside a second one in numpy, its AUC on Gaussians."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from caloforge.comparison.calochallenge import classifier
from caloforge.comparison.calochallenge.classifier import (
    PUBLISHED,
    Settings,
    calibrate,
    classify,
    divide,
)
from caloforge.comparison.calochallenge.inputs import Inputs
from caloforge.observables.sparse_showers import SparseShowers

Array = NDArray[np.float64]

SMALL = Settings(layers=(16, 16), learning_rate=5e-3, batch=100, epochs=12)


def table_of(x_NF: Array) -> Inputs:
    """Make showers whose observables are given; their voxels, the same beside the first, which is the energy."""
    hits = SparseShowers.of(x_NF[:, 1:].astype(np.float32)[:, :, None, None])
    return Inputs(hits, x_NF[:, 0], x_NF)


def gaussians(n: int, n_features: int, distance: float, seed: int = 0) -> tuple[Inputs, Inputs]:
    rng = np.random.default_rng(seed)
    pair = rng.normal(size=(2, n, n_features))
    pair[1] += distance / n_features**0.5
    return table_of(pair[0]), table_of(pair[1])


def test_the_network_is_the_published_one() -> None:
    network = classifier._network(6481, PUBLISHED.layers)
    shapes = [(m.in_features, m.out_features) for m in network if isinstance(m, nn.Linear)]
    assert shapes == [(6481, 2048), (2048, 2048), (2048, 2048), (2048, 1)]
    others = [module for module in network if not isinstance(module, nn.Linear)]
    assert len(others) == 3
    assert all(isinstance(module, nn.LeakyReLU) and module.negative_slope == 0.01 for module in others)
    assert (PUBLISHED.learning_rate, PUBLISHED.batch, PUBLISHED.epochs) == (2e-4, 1000, 50)


def slowly(x: Array, label: Array, parts: list[NDArray[np.intp]], chosen: Settings, seed: int) -> Array:
    """Train the same network in numpy, derivatives by hand; scores of the judged part."""
    train, choosing, judged = parts
    torch.manual_seed(seed)
    start = classifier._network(x.shape[1], chosen.layers)
    weights = [value.detach().numpy().astype(np.float64) for value in start.parameters()]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))

    def forward(rows: NDArray[np.intp]) -> tuple[list[Array], list[Array]]:
        inside, outside = [x[rows]], []
        for layer in range(0, len(weights), 2):
            outside.append(inside[-1] @ weights[layer].T + weights[layer + 1])
            inside.append(np.where(outside[-1] > 0, outside[-1], 0.01 * outside[-1]))
        return inside, outside

    best, scores, step = -1.0, np.zeros(0), 0
    for _ in range(chosen.epochs):
        order = train[torch.randperm(len(train)).numpy()]
        for place in range(0, len(order), chosen.batch):
            rows = order[place : place + chosen.batch]
            inside, outside = forward(rows)
            step += 1
            back = (1 / (1 + np.exp(-outside[-1])) - label[rows][:, None]) / len(rows)
            for layer in range(len(weights) - 2, -1, -2):
                gradients = {layer: back.T @ inside[layer // 2], layer + 1: back.sum(axis=0)}
                if layer:
                    slope = np.where(outside[layer // 2 - 1] > 0, 1, 0.01)
                    back = (back @ weights[layer]) * slope
                for which, gradient in gradients.items():
                    first[which] = 0.9 * first[which] + 0.1 * gradient
                    second[which] = 0.999 * second[which] + 0.001 * gradient**2
                    mean, square = first[which] / (1 - 0.9**step), second[which] / (1 - 0.999**step)
                    weights[which] = weights[which] - chosen.learning_rate * mean / (
                        np.sqrt(square) + 1e-8
                    )
        right = np.mean((forward(choosing)[1][-1][:, 0] > 0) == (label[choosing] > 0.5))
        if right > best:
            best, scores = float(right), forward(judged)[1][-1][:, 0]
    return scores


@pytest.mark.long
def test_the_training_is_that_of_a_second_implementation() -> None:
    ours, theirs = gaussians(60, 3, 1.0)
    x, label = np.concatenate([ours.observables_NF, theirs.observables_NF]), np.repeat([0.0, 1.0], 60)
    order = np.random.default_rng(0).permutation(120)
    parts = [order[:72], order[72:96], order[96:]]
    chosen = Settings(layers=(6, 5), learning_rate=1e-2, batch=20, epochs=6)
    with torch.random.fork_rng(devices=[]):
        expected = slowly(x, label, parts, chosen, seed=3)
    table = torch.from_numpy(x)
    found = classifier._train(lambda rows: table[rows], torch.from_numpy(label), parts, chosen, 3)
    np.testing.assert_allclose(found[1], expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["low", "high"])
@pytest.mark.parametrize("distance", [0.0, 1.0, 2.0])
@pytest.mark.training
def test_the_auc_of_gaussians_is_that_of_the_best_classifier(
    kind: classifier.Kind, distance: float
) -> None:
    state = torch.get_rng_state()
    found = classify(*gaussians(3000, 4, distance), kind, 2, settings=SMALL)
    assert found.mean() == pytest.approx(NormalDist().cdf(distance / 2**0.5), abs=0.025)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.training
def test_runs_differ_and_repeat() -> None:
    pair = gaussians(150, 2, 1.0)
    found = classify(*pair, "high", 3, settings=SMALL)
    assert len(set(found)) == 3
    np.testing.assert_array_equal(found, classify(*pair, "high", 3, settings=SMALL))
    assert set(found) != set(classify(*pair, "high", 3, settings=SMALL, seed=1))


@pytest.mark.training
def test_a_file_that_repeats_the_other_is_not_told_apart() -> None:
    ours, _ = gaussians(200, 2, 1.0)
    assert classify(ours, ours, "high", 2, settings=SMALL) == pytest.approx(0.5)


@given(st.integers(50, 400), st.integers(50, 400), st.integers(0, 5))
def test_parts_hold_each_shower_once_and_both_samples_alike(n: int, m: int, run: int) -> None:
    ours, theirs = divide((n, m), PUBLISHED.parts, 0, "high", run)
    least = min(n, m)
    for parts, count in ((ours, n), (theirs, m)):
        together = np.concatenate(parts)
        assert len(set(together)) == len(together) == least
        assert together.max() < count
        assert [len(part) for part in parts][:2] == [int(0.6 * least), int(0.2 * least)]
    if n == m:
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    elif n > 2 * m:
        assert np.concatenate(ours).max() >= m  # drawn from all of the larger sample


@given(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40),
    st.lists(st.floats(-1, 9), min_size=1, max_size=5),
)
def test_calibration_is_isotonic_regression(known: list[tuple[int, bool]], others: list[float]) -> None:
    isotonic = pytest.importorskip("sklearn.isotonic").IsotonicRegression
    given_N, label_N = np.array(known, float).T
    fit = isotonic(out_of_bounds="clip", y_min=1e-6, y_max=1 - 1e-6).fit(given_N, label_N)
    found = calibrate(given_N, label_N, np.array(others))
    np.testing.assert_allclose(found, fit.predict(others), atol=1e-9)
