"""Search spaces: what may be written, and that every place in them is a training that can be told."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.errors import UsageError
from caloforge.search.space import MODEL, Parameter, load_space, parse_space
from caloforge.training.config import load_config

SPACE = load_space()


@pytest.mark.parametrize("model", SPACE.models)
def test_a_model_begins_as_it_is_usually_trained(model: str) -> None:
    usual = SPACE.usual(model)
    told = load_config(base=SPACE.settings(usual))
    plain = load_config(model=model)
    assert told.learning_rate == plain.learning_rate
    assert told.batch_size == plain.batch_size
    assert SPACE.allowed(usual) == usual


@given(seed=st.integers(0, 10**6))
def test_whatever_is_drawn_can_be_trained(seed: int) -> None:
    choice = SPACE.drawn(np.random.default_rng(seed))
    settings = SPACE.settings(choice)
    config = load_config(base=settings)
    assert config.model == choice[MODEL]
    assert settings["architecture"].items() <= config.architecture.model_dump().items()
    assert SPACE.allowed(choice) == choice


ranges = st.tuples(st.integers(1, 50), st.integers(1, 100), st.booleans(), st.booleans())


@given(ranges, st.floats(0, 1))
def test_a_place_and_its_value_belong_together(
    bounds: tuple[int, int, bool, bool], place: float
) -> None:
    low, width, log, whole = bounds
    parameter = Parameter(low=low, high=low + width, log=log, int=whole)
    value = parameter.at(place)
    assert low <= float(value) <= low + width
    assert isinstance(value, int) == whole
    again = parameter.at(parameter.place(value))
    assert math.isclose(float(again), float(value), rel_tol=1e-9)


@given(st.lists(st.integers(1, 99), min_size=1, max_size=6, unique=True), st.floats(0, 1))
def test_choices_have_equal_room(choices: list[int], place: float) -> None:
    parameter = Parameter(choices=tuple(choices))
    assert parameter.at(parameter.place(parameter.at(place))) == parameter.at(place)
    assert parameter.nearest(choices[0]) == choices[0]


def test_what_is_fixed_is_the_same_for_all() -> None:
    space = parse_space(
        "models: {copula: {batch_size: 16, learning_rate: {low: 1e-3, high: 1e-2}}}", "s"
    )
    choice = space.usual("copula")
    assert choice == {"model": "copula", "copula.learning_rate": 0.01}
    assert space.settings(choice) == {"model": "copula", "batch_size": 16, "learning_rate": 0.01}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {}", ["line 1", "models"]),
        ("models: {unet: {}}", ["model unet", "expected one of", "copula"]),
        ("models: {copula: {epochs: {low: 1, high: 2}}}", ["epochs", "the budget's"]),
        ("models: {copula: {seed: 3}}", ["seed", "the same for all trials"]),
        ("models: {copula: {learning_rat: 3}}", ["model copula", "learning_rat"]),
        ("models: {copula: {learning_rate: {low: 1}}}", ["line 1", "low and high"]),
        ("models: {copula: {learning_rate: {low: 2, high: 1}}}", ["low < high"]),
        ("models: {copula: {learning_rate: {low: 0, high: 1, log: true}}}", ["low > 0"]),
        ("models: {copula: {learning_rate: {low: -1, high: 1}}}", ["model copula", "learning_rate"]),
        ("models: {copula: {batch_size: {low: 1.5, high: 4, int: true}}}", ["whole numbers"]),
        ("models: {copula: {batch_size: {choices: [8, 8]}}}", ["different choices"]),
        ("models: {copula: {batch_size: {choices: [8], low: 2}}}", ["got both"]),
        ("models: {copula: {architecture.width: {choices: [8]}}}", ["architecture.width", "factors"]),
        ("models: {copula: {batch_size: {choice: [8]}}}", ["choice"]),
        ("- copula", ["line 1", "models"]),
    ],
)
def test_a_wrong_space_is_refused_in_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        load_space(path)
    for word in [str(path), *words]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
