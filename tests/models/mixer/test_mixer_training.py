"""The mixer in the training loop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from caloforge.files.shipped import shipped_showers
from caloforge.files.tensors import load_tensors
from caloforge.training.config import load_config
from caloforge.training.trainer import train

pytestmark = pytest.mark.training

SETTINGS = ["model=mixer", "batch_size=8", "check_showers=4", "max_steps=6"]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_tensors(max((run / "checkpoints").iterdir()))[0]


def test_a_run_goes_on_exactly(small_showers: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(load_config(settings=SETTINGS), [small_showers], whole)
    train(load_config(settings=[*SETTINGS, "max_steps=2"]), [small_showers], parts)
    train(load_config(settings=SETTINGS), [small_showers], parts, resume=True)
    expected, found = weights_of(whole), weights_of(parts)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_seconds_of_training_make_showers_like_geant4_s(tmp_path: Path) -> None:
    """On shipped showers: sampling fraction and mean profiles, after a few steps."""
    settings = ["model=mixer", "max_steps=12", "check_showers=60"]
    figures = train(load_config(settings=settings), [shipped_showers("train")], tmp_path / "run")["best"]
    assert figures["sampling_fraction_error"] < 0.03
    assert max(figures[f"shape_{axis}_error"] for axis in "xyz") < 0.15
