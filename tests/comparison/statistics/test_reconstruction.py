"""Reconstructed energies are near the true ones, and a candidate's fault shows in them."""

from __future__ import annotations

import numpy as np
import pytest

from caloforge.comparison.samples import assign_groups
from caloforge.comparison.statistics.reconstruction import reconstruct_energy
from caloforge.foundations.errors import CaloforgeError


def test_energies_come_back_and_a_wrong_scale_shows() -> None:
    rng = np.random.default_rng(1)
    energy_N = rng.uniform(1e4, 5e5, 1000)
    # Some of the energy leaks, and the depth of the shower says how much.
    depth_N = rng.uniform(0, 1, 1000)
    deposit_N = 0.02 * energy_N * (1 - 0.5 * depth_N) * rng.normal(1, 0.02, 1000)
    features = np.column_stack([deposit_N, depth_N, rng.normal(size=1000)])
    group_N = assign_groups(1000, 20)
    scaled = features * [1.1, 1, 1]
    ours, theirs = reconstruct_energy(
        (features, scaled), (deposit_N, 1.1 * deposit_N), (group_N, group_N), energy_N
    )
    assert np.mean(ours / energy_N) == pytest.approx(1, abs=0.01)
    assert np.std(ours / energy_N) < 0.04  # 0.19 from the deposit alone
    assert np.mean(theirs / energy_N) == pytest.approx(1.1, abs=0.02)


def test_both_files_are_treated_alike() -> None:
    rng = np.random.default_rng(2)
    features, energy_N = rng.normal(size=(60, 3)), rng.uniform(1, 2, 60)
    group_N = assign_groups(60, 20)
    deposit_N = np.append(np.ones(59), 0.0)
    pair = reconstruct_energy((features, features), (deposit_N, deposit_N), (group_N, group_N), energy_N)
    assert np.array_equal(*pair)
    assert pair[0][59] == 0
    # It has not seen the energy of the shower itself: pure noise is not reconstructed.
    assert np.corrcoef(pair[0][:59], energy_N[:59])[0, 1] < 0.4


def test_too_few_showers_are_told() -> None:
    x, one = np.zeros((6, 2)), np.ones(6)
    with pytest.raises(CaloforgeError, match="reference: expected at least 4 showers"):
        reconstruct_energy((x, x), (one, one), (np.arange(6), np.arange(6)), one)
