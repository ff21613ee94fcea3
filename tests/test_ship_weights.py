"""The maintainers' tool puts a run's model into a folder of weights and writes its card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import caloforge as cf
from caloforge.detector import Grid
from caloforge.generation.sampler import load
from caloforge.showers import Conditions, Showers
from caloforge.training.config import load_config
from caloforge.training.trainer import train
from tools import ship_weights

pytestmark = pytest.mark.training


def made_up(path: Path, seed: int) -> Path:
    """Write showers in which some cells, more in the middle, have some energy."""
    random = np.random.default_rng(seed)
    across = np.hypot(*np.meshgrid(*2 * [np.arange(5) - 2.0]))
    seen = random.random((30, 5, 5, 4)) < np.exp(-across / 2)[..., None]
    deposits = (seen * random.lognormal(0, 1, seen.shape)).astype(np.float32)
    conditions = Conditions.of(random.uniform(1e4, 5e4, 30).astype(np.float32), None)
    grid = Grid("toy", (5, 5, 4), threshold_MeV=0.01)
    showers = Showers(deposits, conditions.incident_energy, conditions.incident_theta, grid)
    cf.write(path, showers)
    return path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ship")
    data = made_up(folder / "train.h5", 1)
    made_up(folder / "test.h5", 2)
    settings = ["batch_size=8", "epochs=2", "check_showers=2"]
    train(load_config(settings=settings, model="copula"), [data], folder / "run")
    return folder


def ship(folder: Path, training: str) -> None:
    """Call the tool as the command line does."""
    files = ["--training", folder / training, "--reference", folder / "test.h5"]
    options = [*files, "--machine", "a machine", "--weights", folder / "weights"]
    ship_weights.main([str(part) for part in (folder / "run", "toy-weights", *options)])


def test_the_card_says_how_the_weights_were_made_and_how_good_they_are(workplace: Path) -> None:
    ship(workplace, "train.h5")
    folder = workplace / "weights" / "toy-weights"
    assert load(folder).card.grid.name == "toy"
    text = (folder / "README.md").read_text(encoding="utf-8")
    checksum = json.loads((folder / "model.json").read_text())["training_data"]["checksum"]
    for told in (
        "$ caloforge train --model copula --data train.h5 -o run --set epochs=2 --set batch_size=8",
        checksum,
        "27 of 30 in train.h5",
        "| machine | a machine |",
        "### test.h5",
        "## toy\\-weights against Geant4",
    ):
        assert told in text
    assert json.loads((folder / "verdict.json").read_text())["comparisons"][0]["n_reference"] == 30


def test_other_showers_than_those_of_the_training_are_refused(workplace: Path) -> None:
    with pytest.raises(SystemExit, match=r"--training: expected the showers that .*run was trained on$"):
        ship(workplace, "test.h5")
