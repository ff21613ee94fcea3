"""Numbers and ranges in YAML mean what a physicist types, and a misspelt name is told as such."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from caloforge.foundations import yaml_model
from caloforge.foundations.errors import UsageError
from caloforge.foundations.yaml_model import did_you_mean, dump_yaml, load_yaml, parse_yaml


def read(text: str) -> object:
    return load_yaml(text, "x")


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=4))
def test_numbers_with_colons_are_texts(numbers: list[int]) -> None:
    text = ":".join(map(str, numbers))
    assert read(f"energy: {text}") == {"energy": text}
    assert read(f"energy: log:{text}.5") == {"energy": f"log:{text}.5"}


@given(
    st.floats(-1e308, 1e308),
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
            "cells: [1, 2]\ninner:\n  - widths: 3",
            "line 3, field inner.0.widths: no such field; did you mean width?",
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


TEXTS = st.text() | st.sampled_from(["1e3", "7", "yes", "tRue", "10:50", ".5", "~", "1_0", "=", "<<"])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20
)


@given(DATA)
def test_what_a_program_wrote_is_read_as_it_was(data: object) -> None:
    assert load_yaml(dump_yaml(data), "x") == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("10:50", "10:50"),
        ("10:30:50", "10:30:50"),
        ("010", 10.0),
        ("1_000", "1_000"),
        ("true", True),
        ("No", "No"),
        ("~", None),
        ("", None),
        ("'7'", "7"),
        ("2001-02-03", "2001-02-03"),
        (".inf", ".inf"),
        ("1e400", "1e400"),
        ("nan", "nan"),
        ("1" + "0" * 400, "1" + "0" * 400),
        ("[1, a, {b: 2.5}]", [1, "a", {"b": 2.5}]),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("!!python/object/apply:os.system [ls]", ["ls"]),
    ],
)
def test_a_scalar_means_what_a_physicist_reads(text: str, value: object) -> None:
    found = load_yaml(text, "x")
    assert found == value
    assert type(found) is type(value)
    assert not (isinstance(found, float) and not math.isfinite(found))


def laughs(levels: int) -> str:
    """Write aliases of aliases: nine times as many values with each line."""
    lines = ["a0: &a0 [" + ", ".join("x" * 9) + "]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (laughs(9), "aliases count as what they stand for"),
        (laughs(60), "aliases count as what they stand for"),
        ("&a [*a, *a]", "aliases count as what they stand for"),
        ("&a [*a]", "nested too deeply"),
        ("&a {b: *a}", "nested too deeply"),
        ("[" * 70 + "]" * 70, "nested too deeply"),
        ("- " * 10**4 + "a", "nested too deeply"),
        ("x" * (yaml_model.MAX_YAML_BYTES + 1), "expected at most 256 KiB of YAML"),
        ("a: 1\nb: 2\na: 3", "line 3: a is given twice"),
        ("? [a]\n: 1", "line 1: expected a text before the colon"),
        ("{{a: 1}: 2}", "line 1: expected a text before the colon"),
        ("a: *" + "b" * 10**5, "line 1: found undefined alias"),
        ("a: b\n\x1b", "line 2: special characters are not allowed"),
        ("a: [", "line 1"),
    ],
)  # fmt: skip
def test_what_is_too_much_or_no_yaml_is_refused_in_a_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_yaml(text, "file")
    assert str(caught.value).startswith("file")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.text() | st.text("-?:,[]{}#&*!|>'\"%@` \nab01."))
def test_any_text_is_read_or_refused(text: str) -> None:
    said = ""
    try:
        load_yaml(text, "file")
    except UsageError as error:
        said = str(error)
    assert len(said) < 500
