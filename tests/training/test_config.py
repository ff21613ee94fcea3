from __future__ import annotations

from pathlib import Path

import pytest

from caloforge.foundations.errors import UsageError
from caloforge.training.config import TrainingConfig, load_config


def test_settings_win_over_the_file_and_the_file_over_the_base(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("batch_size: 4\nepochs: 7\nobjective: {energy: 0.5}\n")
    config = load_config(
        file, ["epochs=9", "objective.deposit=0.3"], base={"seed": 5, "batch_size": 2}, model="3dgan-x16"
    )
    assert (config.seed, config.batch_size, config.epochs, config.model) == (5, 4, 9, "3dgan-x16")
    assert (config.objective.energy, config.objective.deposit) == (0.5, 0.3)
    assert config.learning_rate == TrainingConfig().learning_rate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate=1e-4", 1e-4),
        ("energy=100:200", "100:200"),
        ("minutes=null", None),
        ("seed=12", 12),
    ],
)
def test_values_mean_what_a_physicist_types(text: str, value: object) -> None:
    assert getattr(load_config(settings=[text]), text.partition("=")[0]) == value


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["batch_size"], ("--set batch_size", "name=value")),
        (["bath_size=4"], ("setting bath_size", "batch_size")),
        (["epochs=none"], ("setting epochs", "integer")),
        (["learning_rate=nan"], ("setting learning_rate",)),
        (["objective.flips=0.1"], ("setting objective.flips",)),
        (["seed=1", "seed.low=2"], ("--set seed.low=2", "seed has no settings")),
    ],
)
def test_a_wrong_setting_is_named(settings: list[str], words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(settings=settings)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_wrong_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 3\nbatch_size: [4\n")
    with pytest.raises(UsageError, match=r"settings\.yaml, line 3"):
        load_config(file)
    file.write_text("epochs: many\n")
    with pytest.raises(UsageError, match=r"settings\.yaml: setting epochs"):
        load_config(file)
