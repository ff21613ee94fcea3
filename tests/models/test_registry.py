"""A family's architecture: which numbers it has, and that a saved model is built again with its own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from forged import forge_card

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard, load_model, save_model

GRID = Grid("block", (7, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)


def sizes(name: str, **chosen: int) -> dict[str, int]:
    return MODELS[name].sizes(chosen).model_dump()


def test_every_family_says_what_numbers_it_has() -> None:
    assert sizes("copula") == {"factors": 64}
    assert sizes("mixer", width=48) == {
        "width": 48,
        "blocks": 3,
        "latent": 48,
        "sources": 8,
        "patch": 5,
    }
    assert sizes("3dgan-x16") == {"filters": 16, "latent": 200, "critic_filters": 16}
    with pytest.raises(CaloforgeError, match=r"architecture: field width"):
        sizes("copula", width=3)


def saved(folder: Path) -> dict[str, object]:
    three = {"factors": 3}
    model = MODELS["copula"].build(GRID, 0.0, three)
    save_model(
        folder,
        model,
        ModelCard("copula", GRID, 0.0, (1e4, 1e5), (math.pi / 2, math.pi / 2), architecture=three),
    )
    card: dict[str, object] = json.loads((folder / "model.json").read_text())
    return card


def test_a_saved_model_is_built_again_with_its_sizes(tmp_path: Path) -> None:
    assert saved(tmp_path)["architecture"] == {"factors": 3}
    model, card = load_model(tmp_path)
    assert card.architecture == {"factors": 3}
    assert model.state_dict()["correlations.cells_core"].shape[2] == 3


def test_a_model_of_an_earlier_version_has_the_usual_sizes(tmp_path: Path) -> None:
    saved(tmp_path)
    forge_card(tmp_path, architecture=None)
    with pytest.raises(CaloforgeError, match="cells_core"):
        load_model(tmp_path)


@pytest.mark.parametrize("value", [{"width": 3}, {"factors": "many"}, 5])
def test_a_wrong_architecture_in_a_card_is_refused(tmp_path: Path, value: object) -> None:
    saved(tmp_path)
    forge_card(tmp_path, architecture=value)
    with pytest.raises(CaloforgeError, match=r"model\.safetensors: .*architecture"):
        load_model(tmp_path)
