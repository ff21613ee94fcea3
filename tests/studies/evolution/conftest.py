"""Showers for the findings: a file so small that a run takes milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shower_samples import random_showers

from caloforge.detector import Grid
from caloforge.files.shower_writer import write
from studies.evolution.projections import EnergyData, project

GRID = Grid("small", (8, 7, 10), cell_size=(5.1, 5.1), layer_pitch_mm=3.5, threshold_MeV=0.001)


@pytest.fixture
def shower_file(tmp_path: Path) -> Path:
    """60 showers whose deposits follow their energies."""
    showers = random_showers(60, GRID)
    deposits = showers.deposits * (showers.incident_energy / 1e5)[:, None, None, None]
    theta = np.full(len(showers), np.pi / 2, np.float32)
    path = tmp_path / "showers.h5"
    write(path, replace(showers, deposits=deposits, incident_theta=theta))
    return path


@pytest.fixture
def energy_data(shower_file: Path) -> EnergyData:
    return EnergyData.of(project(shower_file), None, 1)


@pytest.fixture
def few_showers(tmp_path: Path) -> Path:
    """Too few showers to learn from, alone in their folder."""
    folder = tmp_path / "few"
    folder.mkdir()
    write(folder / "few.h5", random_showers(5, GRID))
    return folder / "few.h5"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
