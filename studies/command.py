"""What the studies' commands share: how they start, and where and with what a result was measured."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from caloforge.bench.machine import describe_machine, package_versions
from caloforge.cli.program import run_program
from caloforge.foundations.durable import check_output_path, write_text
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import read_json

__all__ = ["check_result_path", "provenance", "start", "write_result"]


def start(run: Callable[..., None], module: str, examples: Sequence[str]) -> NoReturn:
    """Run the command ``python -m module``; its errors and exit codes are those of ``caloforge``."""
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(epilog="\n\n".join(("Examples:", *examples)))(run)
    run_program(app, f"python -m {module}")


def provenance(module: str, arguments: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return with what a result begins: the command, the date, the machine and the packages' versions.

    ``options`` that are None are left out.
    """
    words = ["python", "-m", module, *arguments]
    for name, value in options.items():
        words += [] if value is None else [f"--{name}", str(value)]
    return {
        "study": module.rpartition(".")[2],
        "command": shlex.join(words),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": package_versions(),
    }


def check_result_path(path: Path, study: str, *inputs: Path) -> None:
    """Raise UsageError where a result cannot be written, or would replace what this study did not write."""
    check_output_path(path, *inputs)
    found = None
    if path.exists():
        with suppress(CaloforgeError):
            found = read_json(path).get("study")
        if found != study:
            raise UsageError(f"{path}: exists and is no result of {study}; name another file")


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON whole or not at all: numbers with five digits, a line for each row of a list."""
    text = json.dumps(result, allow_nan=False)
    rounded = json.loads(text, parse_float=lambda number: float(f"{float(number):.5g}"))
    fields = []
    for name, value in rounded.items():
        lines = json.dumps(value)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
        fields.append(f"  {json.dumps(name)}: {lines}")
    write_text(path, "{\n" + ",\n".join(fields) + "\n}\n")
