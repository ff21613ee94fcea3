"""Numbers and ranges in YAML mean what a physicist types, and a misspelt name is told as such."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from caloforge.foundations.errors import UsageError
from caloforge.foundations.yaml_model import PlainLoader, did_you_mean, parse_yaml


def read(text: str) -> object:
    return PlainLoader(text).get_single_data()


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=4))
def test_numbers_with_colons_are_texts(numbers: list[int]) -> None:
    text = ":".join(map(str, numbers))
    assert read(f"energy: {text}") == {"energy": text}
    assert read(f"energy: log:{text}.5") == {"energy": f"log:{text}.5"}


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["{!r}", "{:.3e}", "{:E}", "{:+g}"]),
)
def test_every_way_to_write_a_number_is_read_as_one(value: float, form: str) -> None:
    text = form.format(value)
    assert read(f"x: {text}") == {"x": float(text)}


@given(st.integers(-(10**30), 10**30))
def test_whole_numbers_stay_whole(value: int) -> None:
    found = read(str(value))
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("null", None),
        ("~", None),
        ("[a, 1]", ["a", 1]),
        ("1_000", "1_000"),
        (".inf", float("inf")),
    ],
)
def test_all_else_is_as_yaml_has_it(text: str, value: object) -> None:
    assert read(text) == value


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: float


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cells: tuple[int, int]
    inner: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "cell: [1, 2]",
            "line 1, field cell: no such field; did you mean cells? expected one of cells, inner",
        ),
        ("inner: []\nzzz: 1", "line 2, field zzz: no such field; expected one of cells, inner"),
        (
            "cells: [1, 2]\ninner:\n  - widht: 3",
            "line 3, field inner.0.widht: no such field; did you mean width?",
        ),
        ("inner: []", "line 1, field cells: is missing"),
        ("cells: 3", "line 1, field cells: expected a list such as [3, 3], got 3"),
        ("cells: {a: 1}", "line 1, field cells: expected a list"),
    ],
)
def test_unknown_names_come_first_and_ask_for_known_ones(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(Outer, text, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml, {words}")


@given(st.sampled_from(["epochs", "batch_size", "learning_rate", "validation_fraction"]), st.data())
def test_a_name_with_a_letter_too_few_is_recognised(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    known = ["epochs", "batch_size", "learning_rate", "validation_fraction", "seed", "energy"]
    assert did_you_mean(name[:at] + name[at + 1 :], known).startswith(f"did you mean {name}? ")
