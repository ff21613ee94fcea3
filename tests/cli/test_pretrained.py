"""What a newcomer gets without training: the weights that ship, by name, at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Caloforge

import caloforge as cf
from caloforge.files.shipped import pretrained_weights, shipped_showers
from caloforge.files.tensors import load_tensors
from caloforge.models.saved import read_card

NAMES = sorted(pretrained_weights())


def test_the_weights_of_clic_ecal_ship_and_are_listed(caloforge: Caloforge) -> None:
    assert "clic-ecal" in NAMES
    ran = caloforge("models", "--json")
    assert json.loads(ran.out)["weights"] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_makes_showers_right_after_installation(
    name: str, caloforge: Caloforge, tmp_path: Path
) -> None:
    ran = caloforge("generate", name, "--events", 10, "--energy", "10:500", "-o", tmp_path / "x.h5")
    assert ran.code == 0, ran.err
    showers = cf.read(tmp_path / "x.h5")
    seen_N = showers.deposits.sum((1, 2, 3)) * showers.grid.extra.get("sampling_fraction", 1.0)
    fraction_N = seen_N / showers.incident_energy
    assert ((fraction_N > 0.01) & (fraction_N < 0.04)).all()  # of all detectors that ship so
    assert showers.grid.name == read_card(pretrained_weights()[name]).grid.name


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_says_where_it_comes_from(name: str) -> None:
    folder = pretrained_weights()[name]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "model.json",
        "model.safetensors",
        "verdict.json",
    ]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    text, card = (folder / "README.md").read_text(encoding="utf-8"), read_card(folder)
    # The card was written for these very weights.
    told = card.training_data, card.provenance["date"], card.metrics["step"]
    assert json.loads((folder / "model.json").read_text())["training_data"] == told[0]
    for expected in (f"# {name}\n", str(told[0]["checksum"]), str(told[1]), f"| steps | {told[2]},"):
        assert expected in text
    assert load_tensors(folder / "model.safetensors")[1]["training_data"] == told[0]


def test_showers_that_judge_the_demo_trained_no_weights() -> None:
    """The tool that writes a card has compared the named files with the checksum of the training."""
    judges = {shipped_showers("test").name, "ecal25-test.h5"}
    for folder in pretrained_weights().values():
        text = (folder / "README.md").read_text(encoding="utf-8")
        (command,) = (line for line in text.splitlines() if line.startswith("$ caloforge train "))
        assert not judges & set(command.split())
