from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from shower_samples import random_showers

from caloforge.files.shower_file import read
from caloforge.files.shower_writer import write
from caloforge.foundations.errors import CaloforgeError
from studies.evolution.projections import EnergyData, accuracy, project


def test_a_projection_keeps_every_deposit_in_its_patch(shower_file: Path) -> None:
    showers, projected = read(shower_file), project(shower_file)
    assert projected.patches_BNK.shape == (60, 4, 25)  # 8 x 10 cells in patches of 5 x 5
    images = showers.deposits.sum(axis=2)
    np.testing.assert_allclose(projected.patches_BNK[:, 3, :5].numpy(), images[:, 5, 5:], rtol=1e-6)
    np.testing.assert_allclose(projected.patches_BNK.sum((1, 2)), images.sum((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(projected.energy_B, showers.incident_energy / 1e5)


def test_parts_are_apart_and_follow_the_seed(shower_file: Path) -> None:
    data = project(shower_file)
    energy_data, again, other = (EnergyData.of(data, None, seed) for seed in (1, 1, 2))
    energies = [
        set(part.energy_B.tolist())
        for part in (energy_data.train, energy_data.validation, energy_data.test)
    ]
    assert [len(each) for each in energies] == [36, 12, 12]
    assert len(set.union(*energies)) == 60
    assert torch.equal(energy_data.train.energy_B, again.train.energy_B)
    assert not torch.equal(energy_data.train.energy_B, other.train.energy_B)
    assert float(energy_data.train.patches_BNK.square().mean()) == pytest.approx(1, rel=1e-5)
    given = EnergyData.of(data, data, 1)
    assert len(given.test) == 60
    assert len(given.train) == 48


def test_accuracy_is_in_GeV_and_relative() -> None:
    energy_B = torch.linspace(1, 5, 2001)
    found = accuracy(energy_B * 1.1, energy_B)
    assert found.resolution == pytest.approx(0, abs=1e-6)
    assert found.rmse_GeV == pytest.approx(10 * float(energy_B.square().mean().sqrt()), rel=1e-4)
    noise = torch.from_numpy(np.random.default_rng(1).normal(1, 0.05, 2001)).float()
    assert accuracy(energy_B * noise, energy_B).resolution == pytest.approx(0.05, rel=0.1)


def test_too_few_showers_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "few.h5", random_showers(19))
    with pytest.raises(CaloforgeError, match=r"few\.h5: expected at least 20 showers, found 19"):
        project(tmp_path / "few.h5")
