from __future__ import annotations

from pathlib import Path

import pytest

from caloforge.foundations.errors import UsageError
from caloforge.models.registry import MODELS
from caloforge.models.threedgan.family import PublishedConfig
from caloforge.training.config import load_config


def test_settings_win_over_the_file_and_the_file_over_the_base(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("batch_size: 4\nepochs: 7\nobjective: {energy: 0.5}\n")
    config = load_config(
        file, ["epochs=9", "objective.deposit=0.3"], base={"seed": 5, "batch_size": 2}, model="3dgan-x16"
    )
    assert (config.seed, config.batch_size, config.epochs, config.model) == (5, 4, 9, "3dgan-x16")
    assert isinstance(config, PublishedConfig)
    assert (config.objective.energy, config.objective.deposit) == (0.5, 0.3)
    assert (
        config.objective.real_or_fake
        == load_config(model="3dgan").model_dump()["objective"]["real_or_fake"]
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate=1e-4", 1e-4),
        ("energy=100:200", "100:200"),
        ("minutes=null", None),
        ("seed=12", 12),
        ("energy=10:50", "10:50"),
        ("learning_rate=1E-3", 1e-3),
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
        (
            ["model=3dgan", "objective.flips=0.1"],
            ("setting objective.flips", "did you mean label_flips? expected one of real_or_fake"),
        ),
        (["epoch=3"], ("setting epoch: copula has no such setting; did you mean epochs?",)),
        (["epoch=3", "batch_size=none"], ("setting epoch",)),  # what is unknown comes first
        (
            ["model=copula", "objective.label_flips=1"],
            ("setting objective.label_flips: copula has no", "3dgan"),
        ),
        (["model=mixer", "architecture.factors=9"], ("setting architecture.factors", "one of width")),
        (["model=copula", "precision=bf16"], ("setting precision: copula has no such setting", "3dgan")),
        (
            ["model=3dgan", "objective.angle=3"],
            ("setting objective.angle: 3dgan has no", "only 3dgan-angle, 3dgan-angle-x16;"),
        ),
        (
            ["model=3dgan", "architecture.filters=0"],
            ("setting architecture.filters", "greater than or equal to 1"),
        ),
        (["model=nosuch"], ("setting model: expected one of copula", "'nosuch'")),
        (["seed=1", "seed.low=2"], ("--set seed.low=2", "seed has no settings")),
    ],
)
def test_a_wrong_setting_is_named(settings: list[str], words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(settings=settings)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_range_in_a_file_is_a_text(tmp_path: Path) -> None:
    """YAML 1.1 reads 10:50 as 650, to base 60."""
    file = tmp_path / "settings.yaml"
    file.write_text("energy: 10:50\nlearning_rate: 1e-4\nmax_steps: 1000\n")
    config = load_config(file)
    assert (config.energy, config.learning_rate, config.max_steps) == ("10:50", 1e-4, 1000)


def test_where_nobody_names_a_model_the_usual_one_is_asked_for() -> None:
    assert load_config(usual=lambda: "mixer").model == "mixer"
    for named in ({"model": "3dgan"}, {"settings": ["model=3dgan"]}, {"base": {"model": "3dgan"}}):
        assert load_config(usual=lambda: "mixer", **named).model == "3dgan"


def test_a_wrong_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 3\nbatch_size: [4\n")
    with pytest.raises(UsageError, match=r"settings\.yaml, line 3"):
        load_config(file)
    file.write_text("epochs: many\n")
    with pytest.raises(UsageError, match=r"settings\.yaml: setting epochs"):
        load_config(file)


def test_a_run_of_an_earlier_version_goes_on() -> None:
    """Its config.yaml holds every family's settings, those of others as nobody has set them."""
    nobodys = dict.fromkeys(("real_or_fake", "energy", "deposit", "angle", "likelihood"))
    old = {"label_flips": 0.05, "generator_steps": 2, "penalty": None, **nobodys}
    for name, changed in (("copula", {}), ("3dgan", {"deposit": 0.5})):
        base = {"model": name, "precision": "fp32", "objective": {**old, **changed}}
        resolved = load_config(base=base).model_dump().get("objective", {})
        assert changed.items() <= resolved.items()
    with pytest.raises(UsageError, match="setting precision"):
        load_config(base={"model": "copula", "precision": "bf16"})


def test_each_family_sees_its_own_settings_alone() -> None:
    own = {name: load_config(model=name).model_dump() for name in MODELS}
    assert "objective" not in own["copula"]
    assert own["copula"]["architecture"] == {"factors": 64}
    assert (own["copula"]["schedule"], own["3dgan"]["schedule"]) == ("cosine", "constant")
    assert (own["mixer"]["epochs"], own["3dgan"]["epochs"]) == (300, 25)
    for name, settings in own.items():  # all of it is a configuration of its own
        assert load_config(base=settings).model_dump() == settings, name
