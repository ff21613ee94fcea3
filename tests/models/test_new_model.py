"""A new model is one folder and one line of the registry: everything else works for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Caloforge

import caloforge as cf
from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.models import registry
from caloforge.models.saved import load_model
from caloforge.training.config import load_config

SHORT = ("check_showers=4", "validation_fraction=0.15", "batch_size=8")


@pytest.fixture(autouse=True)
def _one_line_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.WHERE, "toy", "toy_model.family:TOY")


@pytest.mark.training
def test_it_trains_generates_saves_and_loads(
    small_showers: Path, caloforge: Caloforge, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "showers.h5"
    settings = [
        part for text in (*SHORT, "epochs=2", "architecture.terms=3") for part in ("--set", text)
    ]
    trained = caloforge("train", "--model", "toy", "--data", small_showers, "--out", run, *settings)
    assert trained.code == 0, trained.err
    model, card = load_model(run)
    assert (card.name, card.architecture) == ("toy", {"terms": 3})
    generated = caloforge("generate", run, "--events", 20, "--energy", "20:400", "-o", out)
    assert generated.code == 0, generated.err
    real, made = cf.read(small_showers), cf.read(out)
    fractions = [s.deposits.sum((1, 2, 3)) / s.incident_energy for s in (real, made)]
    assert fractions[1].mean() == pytest.approx(
        fractions[0].mean(), rel=0.15
    )  # small deposits are not read out
    assert fractions[1].std() > 0
    again = cf.load(str(run)).generate(made.incident_energy, seed=5).deposits
    np.testing.assert_array_equal(
        again, cf.load(str(run)).generate(made.incident_energy, seed=5).deposits
    )
    assert model.noise_size == 1


@pytest.mark.training
def test_it_goes_on_and_begins_with_another_run_s_weights(
    small_showers: Path, caloforge: Caloforge, tmp_path: Path
) -> None:
    def trained(run: Path, *arguments: object) -> None:
        options = [part for text in SHORT for part in ("--set", text)]
        done = caloforge("train", "--out", run, *options, *arguments)
        assert done.code == 0, done.err

    data = ("--data", small_showers)
    trained(tmp_path / "run", *data, "--model", "toy", "--set", "max_steps=2")
    trained(tmp_path / "run", "--resume", "--set", "max_steps=4")
    larger = ("--set", "architecture.terms=4", "--set", "max_steps=1")
    trained(tmp_path / "next", *data, "--init-from", tmp_path / "run", *larger)
    assert load_model(tmp_path / "next")[1].architecture == {"terms": 4}


def test_its_settings_are_its_own() -> None:
    config = load_config(settings=["model=toy", "objective.smoothness=0.5"])
    assert config.model_dump()["objective"] == {"smoothness": 0.5}
    assert config.learning_rate == 0.05
    with pytest.raises(UsageError, match=r"setting objective\.penalty: toy has no such"):
        load_config(settings=["model=toy", "objective.penalty=1"])
    with pytest.raises(UsageError, match=r"setting objective\.smoothness: copula has no such"):
        load_config(settings=["objective.smoothness=1"])


def test_it_is_listed() -> None:
    row = next(row for row in registry.describe(Grid("small", (3, 3, 4))) if row["name"] == "toy")
    assert row["generator"] == 2 * 36 + 1
