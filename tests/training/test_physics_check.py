from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import caloforge as cf
from caloforge.files.training_store import ShowerStore, prepare_store
from caloforge.models.base import Forward, ShowerModel
from caloforge.models.shared.transforms import Transform
from caloforge.showers import Conditions
from caloforge.showers.batch import Given
from caloforge.training.data_parallel import Group
from caloforge.training.physics_check import PhysicsCheck


class Replay(ShowerModel):
    """Gives the store's own showers, after a distortion."""

    def __init__(self, deposits: NDArray[np.float32], factor: float = 1.0, shift: int = 0) -> None:
        super().__init__()
        self.transform, self.threshold_MeV, self.noise_size = Transform(), 0.0, 1
        self.deposits = np.roll(deposits, shift, axis=3) * np.float32(factor)

    def forward(self, given: Given, noise_BL: torch.Tensor) -> torch.Tensor:
        raise AssertionError("sample is replaced")

    def sample(
        self, conditions: Conditions, seed: int, first: int = 0, forward: Forward | None = None
    ) -> NDArray[np.float32]:
        return self.deposits[first : first + len(conditions)]


@pytest.fixture(scope="module")
def store(small_showers: Path, tmp_path_factory: pytest.TempPathFactory) -> ShowerStore:
    return prepare_store([small_showers], tmp_path_factory.mktemp("stores"), threshold_MeV=0.001)


def test_each_error_answers_to_its_own_distortion(store: ShowerStore) -> None:
    index_N = np.arange(40)
    check, real = PhysicsCheck(store, index_N, seed=1), store.dense(index_N)
    same = check(Replay(real), Group())
    assert same["score"] == pytest.approx(0, abs=1e-6)
    brighter = check(Replay(real, factor=1.25), Group())
    assert brighter["sampling_fraction_ratio"] == pytest.approx(1.25, rel=1e-5)
    assert brighter["sampling_fraction_error"] == pytest.approx(0.25, rel=1e-4)
    assert brighter["shape_z_error"] == pytest.approx(0, abs=1e-6)
    deeper = check(Replay(real, shift=2), Group())
    assert deeper["sampling_fraction_error"] == pytest.approx(0, abs=1e-6)
    assert deeper["shape_x_error"] == pytest.approx(0, abs=1e-6)
    assert deeper["shape_z_error"] > 0.1
    dark = check(Replay(np.zeros_like(real)), Group())
    assert dark["sampling_fraction_error"] == pytest.approx(1)
    assert np.isfinite(list(dark.values())).all()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_showers_are_enough(store: ShowerStore, count: int) -> None:
    index_N = np.arange(count)
    check = PhysicsCheck(store, index_N, seed=1)
    assert check(Replay(store.dense(index_N)), Group())["score"] == pytest.approx(0, abs=1e-6)


def test_discrete_energies_make_fewer_bins(small_showers: Path, tmp_path: Path) -> None:
    showers = cf.read(small_showers)
    energies = np.where(np.arange(len(showers)) % 2, 50e3, 100e3).astype(np.float32)
    cf.write(tmp_path / "two.h5", replace(showers, incident_energy=energies))
    store = prepare_store([tmp_path / "two.h5"], tmp_path, threshold_MeV=0.001)
    index_N = np.arange(30)
    brighter = PhysicsCheck(store, index_N, seed=1)(Replay(store.dense(index_N), factor=2), Group())
    assert brighter["sampling_fraction_ratio"] == pytest.approx(2, rel=1e-5)
