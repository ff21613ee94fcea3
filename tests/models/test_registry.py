"""A family's architecture: which numbers it has, and that a saved model is built again with its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard, load_model, save_model

GRID = Grid("block", (7, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)


def test_every_family_says_what_numbers_it_has() -> None:
    assert MODELS["copula"].architecture() == MODELS["copula-angle"].architecture() == {"factors": 64}
    assert MODELS["mixer"].architecture({"width": 48}) == {
        "width": 48,
        "blocks": 3,
        "latent": 48,
        "sources": 8,
        "patch": 5,
    }
    assert MODELS["3dgan-x16"].architecture() == {"filters": 16, "latent": 200, "critic_filters": 16}
    with pytest.raises(UsageError, match=r"architecture\.width: expected one of factors"):
        MODELS["copula"].architecture({"width": 3})


def saved(folder: Path) -> dict[str, object]:
    sizes = {"factors": 3}
    model = MODELS["copula"].build(GRID, 0.0, sizes)
    save_model(folder, model, ModelCard("copula", GRID, 0.0, (1e4, 1e5), (1.5, 1.6), sizes))
    card: dict[str, object] = json.loads((folder / "model.json").read_text())
    return card


def test_a_saved_model_is_built_again_with_its_sizes(tmp_path: Path) -> None:
    assert saved(tmp_path)["architecture"] == {"factors": 3}
    model, card = load_model(tmp_path)
    assert card.architecture == {"factors": 3}
    assert model.state_dict()["moments_factors"].shape == (3, 3)


def test_a_model_of_an_earlier_version_has_the_usual_sizes(tmp_path: Path) -> None:
    card = saved(tmp_path)
    del card["architecture"]
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(CaloforgeError, match="moments_core"):
        load_model(tmp_path)


@pytest.mark.parametrize("value", [{"width": 3}, {"factors": "many"}, 5])
def test_a_wrong_architecture_in_a_card_is_refused(tmp_path: Path, value: object) -> None:
    card = saved(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**card, "architecture": value}))
    with pytest.raises(CaloforgeError, match=r"model\.json"):
        load_model(tmp_path)


def test_a_network_of_the_usual_sizes_begins_with_the_same_weights_as_ever() -> None:
    torch.manual_seed(1)
    model = MODELS["mixer"].build(GRID, 0.0, {})
    torch.manual_seed(1)
    plain = MODELS["mixer"].generator(GRID, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))
