"""Text that anybody may have written: what is right is read as it is, all else is refused in a few words."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations import texts
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import fill, parse_json, printable, read_json, read_text, shortened

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(DATA)
def test_what_python_writes_is_read_as_it_was(data: object) -> None:
    assert parse_json(json.dumps(data)) == data
    assert parse_json(json.dumps(data).encode()) == data


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("{name: 1}", "Expecting property name"),
        (b'"\xff"', "utf-8"),
        (nested(texts.MAX_DEPTH + 1), "nested too deeply"),
        (nested(10**5), "nested too deeply"),
        ("[" * 10**6, "nested too deeply"),
        (nested(200, '{"a":[', "]}"), "nested too deeply"),
        ("NaN", "expected finite numbers, found NaN"),
        ("[-Infinity]", "found -Infinity"),
        ("1e999", "expected finite numbers"),
        ("9" * 10**6 + ".5", "expected finite numbers"),
        ("1" + "0" * 400, "a whole number of more than 20 digits"),
        ("-" + "9" * 5000, "a whole number of more than 20 digits"),
        ('{"a": 1, "b": 2, "a": 3}', "a is given twice"),
        ('{"' + "y" * 10**6 + '": 1, "' + "y" * 10**6 + '": 2}', "given twice"),
        (" " * (texts.MAX_BYTES + 1), "more than 16 MiB"),
    ],
)  # fmt: skip
def test_what_is_no_reasonable_json_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


@given(st.text() | st.binary() | st.text('[]{}",:0123456789eE+-.NaInfity \\ud'))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    said = ""
    try:
        parse_json(text)
    except ValueError as error:
        said = str(error)
    assert len(said) < 400


def test_depth_within_the_limit_is_read() -> None:
    data = parse_json(nested(texts.MAX_DEPTH))
    for _ in range(texts.MAX_DEPTH - 1):
        (data,) = data
    assert data == []


def test_what_python_tells_itself_may_be_not_finite() -> None:
    nan, infinity = parse_json("[NaN, -Infinity]", finite=False)
    assert math.isnan(nan)
    assert infinity == -math.inf


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "expected JSON: expected JSON in UTF-8"),
        (b"[1]", "expected a JSON object"),
        (b'{"a": NaN}', "expected JSON: expected finite numbers"),
        (b"", "expected JSON"),
    ],
)
def test_a_file_of_other_content_is_broken(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CaloforgeError, match=words) as caught:
        read_json(path)
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_file_or_too_long_is_wrong_use(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(bytes(11))
    for name, words in (
        ("none", "no such file"),
        (".", "this is a folder"),
        ("pipe", "not a regular file"),
        ("long", "at most"),
    ):
        with pytest.raises(UsageError, match=words):
            read_text(tmp_path / name, "a text", 10)
    assert read_text(tmp_path / "long", "a text", 11) == "\0" * 11


@dataclass(frozen=True)
class Note:
    count: int
    name: str = "x"
    costs: dict[str, float] = field(default_factory=dict)


def test_a_dataclass_is_filled_with_the_right_types() -> None:
    assert fill(Note, {"count": 3, "costs": {"a": 1}}, "file") == Note(3, "x", {"a": 1.0})


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({}, "field count"),
        ({"count": "many"}, "field count"),
        ({"count": 1.5}, "field count"),
        ({"count": None}, "field count"),
        ({"count": 1, "costs": []}, "field costs"),
        ({"count": 1, "costs": {"x" * 10**6: "y"}}, "field costs"),
        ({"count": 1, "name": ["z" * 10**6]}, "field name"),
        ([], "field all"),
        (None, "field all"),
    ],
)
def test_a_field_that_is_missing_or_of_another_type_is_named(data: Any, where: str) -> None:
    with pytest.raises(CaloforgeError, match=f"^file: {where}") as caught:
        fill(Note, data, "file")
    assert len(str(caught.value)) < 300


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_a_terminal_is_shown_characters_alone(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    if text.isprintable():
        assert shown == text


def test_what_steers_a_terminal_is_named() -> None:
    name = os.fsdecode(b"a\x1b[31m\xff.h5")
    assert printable(name) == r"a\x1b[31m\udcff.h5"


@given(st.text(), st.integers(10, 50))
def test_a_long_text_keeps_its_ends(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert len(short) <= limit
    assert short == text or (text.startswith(short[:3]) and text.endswith(short[-3:]) and "..." in short)
