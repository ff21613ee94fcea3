"""A saved model is what was saved: its card comes from the checksummed weights, and fits them."""

from __future__ import annotations

import copy
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import Caloforge, MadeOnce
from forged import forge_card
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caloforge.detector import Grid
from caloforge.files.shipped import pretrained_weights
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.models import saved
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard, has_model, load_model, read_card, save_model

GRID = Grid("block", (7, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0, threshold_MeV=0.001)
SIZES = {"copula": {"factors": 3}, "mixer": {"width": 8, "blocks": 1}, "3dgan": {"filters": 2}}


def save(folder: Path, name: str = "copula") -> ModelCard:
    """Save an untrained model with few weights."""
    card = ModelCard(
        name,
        GRID,
        0.001,
        (1e4, 1e5),
        (1.5, 1.6),
        architecture=SIZES[name],
        training_data={"showers": 1},
        metrics={"score": 0.5, "step": 3},
    )
    save_model(folder, card.build(), card)
    return card


@pytest.fixture
def folder(tmp_path: Path, made_once: MadeOnce) -> Path:
    return Path(shutil.copytree(made_once("saved-copula", save), tmp_path / "model"))


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Return the way to each number, text and truth value of a JSON document."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], *path, key)
    else:
        yield path


CARD = json.loads((pretrained_weights()["clic-ecal-angle"] / "model.json").read_text())
ELSE = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**18), 10**18)
    | st.text(max_size=5)
    | st.none()
    | st.booleans()
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.sampled_from(sorted(leaves(CARD), key=str)), ELSE)
def test_no_value_of_a_card_can_be_changed_in_silence(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    changed = copy.deepcopy(CARD)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]], same = value, inner[path[-1]] == value
    (tmp_path / "model.json").write_text(json.dumps(changed))
    if same:
        saved._require_unchanged(tmp_path / "model.json", CARD)
        return
    with pytest.raises(CaloforgeError, match=rf"model\.json: field {path[0]}: changed or damaged"):
        saved._require_unchanged(tmp_path / "model.json", CARD)


def test_pretrained_models_are_what_their_cards_say() -> None:
    for path in pretrained_weights().values():
        assert read_card(path).name == json.loads((path / "model.json").read_text())["name"]


def test_a_flipped_digit_in_a_card_is_one_line(folder: Path, caloforge: Caloforge) -> None:
    path = folder / "model.json"
    path.write_text(path.read_text().replace('"threshold_MeV": 0.001', '"threshold_MeV": 1000.001'))
    ran = caloforge("generate", folder, "--events", 2, "--energy", 50, "-o", folder / "x.h5")
    ran.refused(1, str(path), "field grid")
    assert not (folder / "x.h5").exists()


def test_the_weights_are_enough(folder: Path) -> None:
    (folder / "model.json").unlink()
    assert has_model(folder)
    assert load_model(folder)[1] == read_card(folder)
    assert read_card(folder).metrics == {"score": 0.5, "step": 3}
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="expected a run folder with"):
        load_model(folder)


def test_a_kill_between_the_two_files_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    before = (folder / "model.json").read_text()
    for name in ("save_tensors", "write_json"):
        with monkeypatch.context() as patched:
            patched.setattr(saved, name, killed)
            with pytest.raises(KeyboardInterrupt):
                save(folder)
        assert load_model(folder)[1].metrics["step"] == 3
        saved.write_lost_card(folder)
        assert (folder / "model.json").read_text() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold_MeV", -5),
        ("threshold_MeV", 1e5),
        ("threshold_MeV", "inf"),
        ("threshold_MeV", "nan"),
        ("energy_MeV", [1e5, 1e4]),
        ("energy_MeV", [0, 1e4]),
        ("energy_MeV", [1e4, 1e10]),
        ("energy_MeV", ["nan", 1e5]),
        ("energy_MeV", [1e4]),
        ("theta_rad", [1.6, 1.5]),
        ("theta_rad", [0, 1.5]),
        ("theta_rad", [1.5, 3.2]),
        ("format", "another"),
        ("metrics", None),
    ],
)
def test_impossible_values_are_refused_by_name(folder: Path, field: str, value: object) -> None:
    forge_card(folder, **{field: value})
    with pytest.raises(CaloforgeError, match=rf"model\.safetensors: .*{field}"):
        load_model(folder)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("shape", [[1 << 24, 1, 1], [1, 1 << 24, 1], [1, 1, 1 << 24], [2048, 64, 128]])
def test_a_shape_that_is_not_the_weights_is_refused_before_anything_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shape: list[int]
) -> None:
    card = save(tmp_path, name)
    with torch.device("meta"):
        card.build()  # what torch loads for this, once, is not counted
    forge_card(tmp_path, grid={**GRID.to_json(), "shape": shape, "layers": shape[2]})
    built: list[str] = []
    build = ModelCard.build

    def watched(card: ModelCard) -> Any:
        built.append(torch.empty(0).device.type)
        return build(card)

    monkeypatch.setattr(ModelCard, "build", watched)
    tracemalloc.start()
    try:
        with pytest.raises(CaloforgeError, match=r"model\.safetensors: (weights|detector)"):
            load_model(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()
    assert built == ["meta"]


@pytest.mark.parametrize("name", SIZES)
def test_sizes_beyond_the_weights_are_refused(tmp_path: Path, name: str) -> None:
    size = next(iter(SIZES[name]))
    save(tmp_path, name)
    forge_card(tmp_path, architecture={**MODELS[name].sizes(SIZES[name]).model_dump(), size: 10**9})
    with pytest.raises(CaloforgeError, match=r"model\.safetensors: field architecture"):
        load_model(tmp_path)
