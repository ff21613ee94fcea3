"""Showers of a small detector, enough of them to judge by, and a space of networks that train in moments."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import MadeOnce
from shower_samples import write_core

SMALL_SPACE = """
models:
  copula:
    learning_rate: {low: 0.001, high: 0.05, log: true}
    batch_size: {choices: [16, 32]}
    architecture.factors: {low: 2, high: 12, log: true, int: true}
  mixer:
    learning_rate: {low: 0.001, high: 0.01, log: true}
    batch_size: 32
    architecture.width: {choices: [4, 8, 12, 16]}
    architecture.blocks: {low: 1, high: 3, int: true}
    architecture.latent: {low: 2, high: 8, int: true}
    architecture.patch: {choices: [3, 5]}
"""


@pytest.fixture(scope="session")
def core_showers(made_once: MadeOnce) -> Path:
    return made_once("search", lambda folder: write_core(folder / "core.h5", 170)) / "core.h5"


@pytest.fixture
def small_space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SMALL_SPACE)
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
