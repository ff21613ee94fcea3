"""A small detector's real showers: the core of the Geant4 showers that ship, 9 x 9 x 11 cells."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from caloforge.io.shower_file import ShowerFile, write


@pytest.fixture(scope="session")
def small_showers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(str(resources.files("caloforge"))) / "data" / "clic-ecal-train.h5"
    with ShowerFile(source) as file:
        showers = file.read(0, 48)
    grid = replace(showers.grid, name="core", shape=(9, 9, 11))
    core = replace(showers, deposits=showers.deposits[:, 8:17, 8:17, 2:13].copy(), grid=grid)
    path = tmp_path_factory.mktemp("small") / "core.h5"
    write(path, core)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
