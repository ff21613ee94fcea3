"""Outputs of commands: what another command made is not replaced unasked."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from caloforge.foundations.durable import check_output_path
from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = ["Overwrite", "claim", "command_in_json", "command_in_showers", "this_command"]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what another command wrote there.")
]


def this_command() -> str:
    """Return the command line, without the output's name and what changes nothing of the result."""
    words, given = list[str](), iter(sys.argv[1:])
    for word in given:
        if word in ("-o", "--output"):
            next(given, None)
        elif word not in ("--overwrite", "--json") and not word.startswith("--output="):
            words.append(word)
    return os.fsencode(shlex.join(["caloforge", *words])).decode("utf-8", "backslashreplace")


def claim(path: Path, *inputs: Path, made_by: Callable[[Path], Any], overwrite: bool) -> None:
    """Raise UsageError where a file cannot be written, is one of ``inputs``, or holds what this very command has not made.

    ``made_by`` reads which command made what is there.
    """
    check_output_path(path, *inputs)
    if path.exists() and not overwrite and made_by(path) != this_command():
        raise UsageError(f"{path}: exists, and another command made it; --overwrite replaces it")


def command_in_showers(path: Path) -> Any:
    """Read the command that made a shower file; None of anything else."""
    from caloforge.files.shower_file import ShowerFile

    with suppress(CaloforgeError), ShowerFile(path) as file:
        return file.provenance.get("command")
    return None


def command_in_json(path: Path) -> Any:
    """Read the command that made a result; None of anything else."""
    with suppress(OSError, ValueError, RecursionError, AttributeError):
        return json.loads(path.read_text(encoding="utf-8")).get("command")
    return None
