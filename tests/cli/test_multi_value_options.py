"""Options that take several values, wherever they stand on the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import typer.main

from caloforge.cli.main import app
from caloforge.cli.program import WrongUse


def parsed(line: str) -> dict[str, Any]:
    """Parse a command line without running it."""
    name, *args = line.split()
    group: Any = typer.main.get_command(app)
    command = group.commands[name]
    return dict(command.make_context(name, args).params)


@pytest.mark.parametrize(
    ("line", "labels", "files"),
    [
        ("r c -o x --labels A B", "A B", "r c"),
        ("r c --labels A B -o x", "A B", "r c"),
        ("--labels A B r c -o x", "A B", "r c"),
        ("-o x --labels A B r c", "A B", "r c"),
        ("r --labels A B c -o x", "A B", "r c"),
        ("r c d --labels A B C -o x --only numbers", "A B C", "r c d"),
        ("--labels A B C r c d -o x", "A B C", "r c d"),
        ("r c --labels A --labels B -o x", "A B", "r c"),
        ("r c --labels A B --requirements y --training t -o x", "A B", "r c"),
        ("r c --labels A -o x", "A", "r c"),
        ("r c -o x", "", "r c"),
    ],
)
def test_labels_and_files_are_told_apart(line: str, labels: str, files: str) -> None:
    found = parsed(f"validate {line}")
    assert list(found["labels"] or ()) == labels.split()
    assert [str(p) for p in (found["reference"], *found["candidates"])] == files.split()


@pytest.mark.parametrize(
    "name", ["train", "search random", "demo", "validate r c", "models", "bench loader"]
)
@pytest.mark.parametrize("option", ["-o x", "--output x", "--output=x", "--out x", "--out=x"])
def test_every_output_is_named_alike(name: str, option: str) -> None:
    if name == "models":  # which writes nothing
        with pytest.raises(WrongUse, match="No such option"):
            parsed(f"{name} {option}")
    else:
        assert str(parsed(f"{name} {option}")["output"]) == "x"


def test_the_files_of_labels_are_counted_with_the_other_spelling_too() -> None:
    found = parsed("validate r c --out x --labels A B")
    assert (found["labels"], str(found["output"])) == (["A", "B"], "x")


@pytest.mark.parametrize(
    "line",
    [
        "--data a b c --out run",
        "--data a b c -o run",
        "--out run --data a b c",
        "--data a --data b --data c --out run",
    ],
)
def test_data_takes_several_files(line: str) -> None:
    found: Sequence[Any] = parsed(f"train {line}")["data"]
    assert [str(path) for path in found] == ["a", "b", "c"]
