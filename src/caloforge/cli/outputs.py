"""Outputs of commands: what another command made is not replaced unasked."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from caloforge.foundations.durable import check_output_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import parse_json, read_json

__all__ = ["Overwrite", "claim_export", "claim_json", "claim_showers", "this_command"]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what another command wrote there.")
]


def this_command() -> str:
    """Return the command line, without the output's name and what changes nothing of the result."""
    words, given = list[str](), iter(sys.argv[1:])
    for word in given:
        if word in ("-o", "--output", "--out"):
            next(given, None)
        elif word not in ("--overwrite", "--json") and not word.startswith(("--output=", "--out=")):
            words.append(word)
    return os.fsencode(shlex.join(["caloforge", *words])).decode("utf-8", "backslashreplace")


def claim_showers(path: Path, *inputs: Path, overwrite: bool) -> None:
    """Raise UsageError where a shower file cannot be written, or would replace what this command has not made."""
    from caloforge.files.hit_files import hit_writer
    from caloforge.files.shower_file import ShowerFile
    from caloforge.files.shower_writer import check_shower_path

    check_shower_path(path, *inputs)
    made_by = None
    if path.exists():
        if (hits := hit_writer(path.suffix.lower())) is not None:
            with suppress(CaloforgeError, ValueError, AttributeError):
                made_by = parse_json(hits.told(path) or "{}").get("command")
        else:
            with suppress(CaloforgeError), ShowerFile(path) as file:
                made_by = file.provenance.get("command")
    _require(path, made_by, overwrite)


def claim_json(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError where a result cannot be written, or would replace what this command has not made."""
    check_output_path(path)
    made_by = None
    if path.exists():
        with suppress(CaloforgeError):
            made_by = read_json(path).get("command")
    _require(path, made_by, overwrite)


def claim_export(path: Path, beside: Path | None, *, overwrite: bool) -> None:
    """Raise UsageError where an export, or the text beside it, cannot be written or would replace what is not this command's own."""
    from caloforge.export.containers import read_note

    made_by = None
    for written in (path, beside):
        if written:
            check_output_path(written)
    if path.exists():
        with suppress(CaloforgeError):
            made_by = read_note(path).get("command")
    _require(path, made_by, overwrite)
    if beside:
        _require(beside, made_by, overwrite)


def _require(path: Path, made_by: object, overwrite: bool) -> None:
    if path.exists() and not overwrite and made_by != this_command():
        raise UsageError(f"{path}: exists, and another command made it; --overwrite replaces it")
