"""Profiles cell by cell, gains of layers and correlations of neighbours, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic_samples import pair, sample, scan

from caloforge.comparison.differences import Metrics, central
from caloforge.comparison.profiles import profile_metrics
from caloforge.comparison.samples import Sample
from caloforge.showers import Conditions

Array = NDArray[np.float64]
N_LAYERS = 12


def longitudinal(rng: np.random.Generator, conditions: Conditions, noise: float = 0.1) -> Array:
    """Draw deposits by layer, MeV: a gamma distribution whose depth fluctuates, sampled with noise, (N, Z)."""
    n = len(conditions)
    shift = rng.normal(0, 0.5, (n, 1))
    depth = np.maximum(np.arange(N_LAYERS) + 1.5 + shift, 0.1)
    shape = depth**3 * np.exp(-0.9 * depth)
    energy = 0.02 * conditions.incident_energy[:, None].astype(np.float64)
    mean = energy * shape / shape.sum(axis=1, keepdims=True)
    return np.asarray(mean * (1 + noise * rng.normal(size=shape.shape)))


def layered(conditions: Conditions, deposits: Array) -> Sample:
    """Make a sample of deposits by layer; across all is in three equal parts."""
    across = np.repeat(deposits.sum(axis=1, keepdims=True) / 3, 3, axis=1)
    return sample(conditions, {}, {"x": across, "y": across, "z": deposits})


def pulls(metrics: Metrics, kind: str, perfect: float) -> dict[int, float]:
    """Return by how many errors each layer's number is off, by layer."""
    names = {f"{kind}{layer}": layer for layer in range(N_LAYERS)}
    return {
        layer: (metrics[name] - perfect) / metrics[f"{name}_err"]
        for name, layer in names.items()
        if metrics.get(name) is not None
    }


@pytest.mark.long
@settings(max_examples=4)
@given(layer=st.integers(2, 8), change=st.sampled_from([-0.02, 0.02]), seed=st.integers(0, 99))
def test_the_layer_whose_gain_is_off_is_found(layer: int, change: float, seed: int) -> None:
    """There most, and not beyond the two layers on either side, of which it tells what to expect."""
    rng, conditions = np.random.default_rng(seed), scan(10, 50, showers=1500)
    reference = layered(conditions, longitudinal(rng, conditions, 0.05))
    deposits = longitudinal(rng, conditions, 0.05)
    deposits[:, layer] *= 1 + change
    metrics = profile_metrics(pair(reference, layered(conditions, deposits)))
    found = pulls(metrics, "layer_gain.", 1)
    assert len(found) > 8
    assert abs(metrics[f"layer_gain.{layer}"] - 1 - change) < 4 * metrics[f"layer_gain.{layer}_err"]
    assert max(found, key=lambda other: abs(found[other])) == layer
    assert abs(found[layer]) > 5
    assert all(abs(pull) < 4.5 for other, pull in found.items() if abs(other - layer) > 2)


def test_a_gain_that_is_off_at_one_energy_is_told_there() -> None:
    rng, conditions = np.random.default_rng(1), scan(10, 50, 100, showers=1000)
    reference = layered(conditions, longitudinal(rng, conditions, 0.05))
    deposits = longitudinal(rng, conditions, 0.05)
    deposits[1000:2000, 4] *= 1.04
    metrics = profile_metrics(pair(reference, layered(conditions, deposits)))
    name = "layer_gain.4_by_energy"
    at = [(v - 1) / e for v, e in zip(metrics[name], metrics[f"{name}_err"], strict=True)]
    assert at[1] > 5
    assert max(abs(at[0]), abs(at[2])) < 4


def test_gains_need_many_showers() -> None:
    rng, conditions = np.random.default_rng(2), scan(10, showers=150)
    both = [layered(conditions, longitudinal(rng, conditions)) for _ in range(2)]
    assert not any(name.startswith("layer_gain") for name in profile_metrics(pair(*both)))


def test_the_correlation_of_neighbours_is_pearsons() -> None:
    """At one energy, against numpy; deposits of the candidate share half of their fluctuations with nobody."""
    rng, conditions = np.random.default_rng(3), scan(20, showers=1000)
    ours = longitudinal(rng, conditions)
    theirs = longitudinal(rng, conditions)
    theirs = np.where(rng.random(theirs.shape) < 0.5, rng.permuted(theirs, axis=0), theirs)
    metrics = profile_metrics(pair(layered(conditions, ours), layered(conditions, theirs)))
    core = central(ours.sum(axis=0))
    means = [np.asarray(np.corrcoef(d[:, core].T)).diagonal(1).mean() for d in (ours, theirs)]
    name = "neighbour_correlation_difference"
    assert metrics[name] == pytest.approx(means[1] - means[0], abs=1e-4)
    assert metrics[f"{name}_by_energy"] == pytest.approx([metrics[name]])
    assert metrics[name] < -5 * metrics[f"{name}_err"]


def test_its_error_is_the_scatter_of_repeated_experiments() -> None:
    rng, conditions = np.random.default_rng(4), scan(20, showers=250)
    found = []
    for _ in range(40):
        both = [layered(conditions, longitudinal(rng, conditions)) for _ in range(2)]
        metrics = profile_metrics(pair(*both))
        name = "neighbour_correlation_difference"
        found.append(metrics[name] / metrics[f"{name}_err"])
    assert 0.7 < np.std(found) < 1.3
    assert abs(np.mean(found)) < 0.5


@settings(max_examples=6)
@given(cell=st.integers(2, 6), factor=st.floats(0.8, 1.3), seed=st.integers(0, 99))
def test_a_cell_of_a_profile_that_is_scaled_is_read_off(cell: int, factor: float, seed: int) -> None:
    """The same showers: the ratio is that of the mean shares, which all cells have a part in."""
    rng, conditions = np.random.default_rng(seed), scan(10, 50, showers=300)
    ours = longitudinal(rng, conditions)
    theirs = ours.copy()
    theirs[:, cell] *= factor
    metrics = profile_metrics(pair(layered(conditions, ours), layered(conditions, theirs)))
    shares = [d / d.sum(axis=1, keepdims=True) for d in (ours, theirs)]
    for layer in central(ours.sum(axis=0)).tolist():
        true = shares[1][:, layer].mean() / shares[0][:, layer].mean()
        assert metrics[f"profile_ratio.z.{layer}"] == pytest.approx(true, rel=1e-4)
        assert metrics[f"profile_ratio.z.{layer}_by_energy"] == pytest.approx([true] * 2, rel=0.01)
    assert [metrics[f"profile_ratio.x.{i}"] for i in range(3)] == pytest.approx([1] * 3, abs=1e-6)


def test_cells_outside_the_core_have_no_ratio() -> None:
    rng, conditions = np.random.default_rng(5), scan(10, showers=100)
    deposits = longitudinal(rng, conditions)
    deposits[:, 0] *= 1e-3
    metrics = profile_metrics(pair(*[layered(conditions, deposits)] * 2))
    assert "profile_ratio.z.0" not in metrics
    assert "profile_ratio.z.11" not in metrics
    assert metrics["profile_ratio.z.4"] == pytest.approx(1)
