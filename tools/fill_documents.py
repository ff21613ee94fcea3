"""Maintainers' tool: write what the code and the measurements say into the documents.

``python tools/fill_documents.py`` rewrites what stands between ``<!-- fill: NAME ARGUMENT... -->`` and
``<!-- end -->`` in README.md, CONTRIBUTING.md, docs/*.md and studies/*/README.md; ``--check`` only fails where a
file would change. A NAME is a function of :data:`BLOCKS`. Lists come from the package itself, numbers from the
result files that commands have written (``docs/results/*.json``, ``studies/*/*.json``).
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.main import get_command

from caloforge.cli.main import app
from caloforge.comparison import correlations, differences, equal_conditions
from caloforge.comparison import metrics as measured
from caloforge.comparison.key_metrics import title_of, with_error
from caloforge.comparison.requirements import judge, load_requirements
from caloforge.detector import load_detector, shipped_detectors
from caloforge.observables.definitions import OBSERVABLES
from caloforge.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
DOCUMENTS = ("*.md", "docs/*.md", "studies/*/README.md")
BLOCK = re.compile(r"<!-- fill: (\S+)(.*?) -->\n.*?<!-- end -->", re.DOTALL)

Result = Mapping[str, Any]
Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill all documents, or check that they are filled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail where a file would change"
    )
    check = parser.parse_args(arguments).check
    stale = ""
    for path in sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        filled = fill(text)
        if filled == text:
            continue
        name = str(path.relative_to(ROOT))
        stale += "".join(
            difflib.unified_diff(text.splitlines(True), filled.splitlines(True), name, name, n=0)
        )
        if not check:
            path.write_text(filled, encoding="utf-8")
    if check and stale:
        sys.exit(f"{stale}\nfill_documents: expected `python tools/fill_documents.py` to change nothing")


def fill(text: str) -> str:
    """Fill each block of a document's text."""

    def filled(block: re.Match[str]) -> str:
        lines = BLOCKS[block[1]](*block[2].split())
        inner = lines if isinstance(lines, str) else "\n".join(lines)
        return f"<!-- fill: {block[1]}{block[2]} -->\n\n{inner.strip()}\n\n<!-- end -->"

    return BLOCK.sub(filled, text)


# What the code says


def commands() -> Iterator[str]:
    """Describe every command: what it does, its options, and its examples."""
    group: Any = get_command(app)
    with typer.Context(group, info_name="caloforge") as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            rows = [(_spelled(it), getattr(it, "help", "") or "") for it in command.params]
            yield from ("", f"## `caloforge {name}`", "", command.help or "", "")
            yield from table(("argument or option", "meaning"), rows)
            yield from ("", "```console")
            yield from (f"$ {line}" for line in command.epilog.split("\n\n")[1:])
            yield "```"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names, default = ", ".join(f"`{name}`" for name in parameter.opts), parameter.default
    if parameter.required:
        return f"{names} (required)"
    hidden = default in (None, False, "", ()) or callable(default)
    return names if hidden else f"{names} ({default})"


def settings() -> Iterator[str]:
    """List the settings of a run with defaults and meanings, nested ones by their dotted name."""
    yield from table(("setting", "default", "meaning"), _fields(TrainingConfig))


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[Sequence[object]]:
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from _fields(type(default), f"{prefix}{name}.")
            continue
        default = list(default) if isinstance(default, tuple) else default
        shown = "" if default is None else f"`{default}`"
        yield f"`{prefix}{name}`", shown, field.description or ""


def detectors() -> Iterator[str]:
    """List the detectors that ship."""
    rows = []
    for name in shipped_detectors():
        it = load_detector(name)
        cells, size = (" x ".join(map(str, pair)) for pair in (it.cells, it.cell_size_mm))
        rows.append(
            (
                f"`{name}`",
                it.description,
                cells,
                size,
                it.n_layers,
                it.production_cut_mm,
                it.threshold_MeV,
            )
        )
    head = ("name", "what", "cells", "cell, mm", "layers", "cut, mm", "threshold, MeV")
    yield from table(head, rows)


def observables() -> Iterator[str]:
    """List the observables; what is defined along each axis is listed for x."""
    rows = []
    for name, it in OBSERVABLES.items():
        stem, _, axis = name.rpartition("_")
        if axis not in ("y", "z", "r", "phi", "layer") or f"{stem}_x" not in OBSERVABLES:
            rows.append((f"`{name}`", it.title, "" if it.unit == "1" else it.unit, it.meaning))
    yield from table(("name", "quantity", "unit", "definition"), rows)


def metrics() -> Iterator[str]:
    """List the numbers of metrics.json, which the docstrings of their modules define."""
    for module in (differences, equal_conditions, correlations, measured):
        text = inspect.cleandoc(module.__doc__ or "")
        text = re.sub(r":(?:func|mod|attr|class|data):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace(
            "``", "`"
        )
        definitions: list[tuple[str, str]] = []
        for paragraph in re.split(r"\n\n|\n(?=`[^\n]*`\n)", text)[1:]:
            term, _, rest = paragraph.partition("\n")
            if rest.startswith("    "):
                definitions.append((term, rest))
                continue
            yield from _definitions(definitions)
            definitions = []
            yield from (paragraph, "")
        yield from _definitions(definitions)


def _definitions(rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield from (*table(("number", "meaning"), rows), "")


def requirements() -> Iterator[str]:
    """List the requirements that ship."""
    rows = [
        (
            it.title,
            f"`{it.metric}`",
            it.text(),
            "the same" if it.by_energy is None else it.text(it.by_energy),
        )
        for it in load_requirements()
    ]
    yield from table(("requirement", "number in `metrics.json`", "limit", "in each bin of energy"), rows)


def rooms() -> Iterator[str]:
    """List the rooms of the package from the ground up: the floors that the layering test holds."""
    tree = ast.parse((ROOT / "tests" / "test_layers.py").read_text(encoding="utf-8"))
    (floors,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLOORS"
    )
    rows = [
        (number, f"`{room}`", _idea(room), f"{_lines(room):,}")
        for number, floor in reversed(list(enumerate(floors)))
        for room in floor
    ]
    yield from table(("floor", "room", "what it holds", "lines"), rows)


def _idea(room: str) -> str:
    path = ROOT / "src" / "caloforge" / room
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]


def _lines(room: str) -> int:
    path = ROOT / "src" / "caloforge" / room
    files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return sum(file.read_text(encoding="utf-8").count("\n") for file in files)


# What was measured


def quality(*names: str) -> Iterator[str]:
    """Compare comparisons with Geant4: the requirements met, and the numbers of each, a column a file."""
    found = [load(name) for name in names]
    yield from table(
        ("number in `metrics.json`", *(f"`{name}`" for name in names)),
        [
            ("requirements met (of them only within errors)", *map(_verdict, found)),
            *((title_of(name), *(_number(it, name) for it in found)) for name in SHOWN),
        ],
    )
    yield ""
    for it in found:
        yield source(it)


def _verdict(result: Result) -> str:
    verdict = judge(result["metrics"], load_requirements())
    narrowly = sum(it.status == "within errors" for it in verdict)
    return f"{sum(it.holds for it in verdict)} of {len(verdict)} ({narrowly})"


def _number(result: Result, name: str) -> str:
    found = result["metrics"]
    return with_error(found[name], found.get(f"{name}_err")) if name in found else ""


SHOWN = (
    "auc.low",
    "auc.high",
    "adjusted_ratio.sampling_fraction",
    "spread_ratio.sampling_fraction",
    "adjusted_ratio.hits",
    "adjusted_ratio.width_across",
    "shape.z.mean_rel_error",
    "layer_correlation.mean_abs_error",
    "fpd",
    "legacy_3dgan_metric",
)


def bench(name: str, *columns: str) -> Iterator[str]:
    """Show the rows of a benchmark; a column is KEY or KEY=its_title, with _ for a space."""
    result = load(name)
    pairs = [column.partition("=") for column in columns]
    head = [(title or key).replace("_", " ") for key, _, title in pairs]
    yield from table(head, [[digits(row[key]) for key, _, _ in pairs] for row in result["rows"]])
    yield from ("", source(result))


# How it is written


def load(name: str) -> dict[str, Any]:
    """Read a result: ``docs/results/NAME.json``, or a path below the repository."""
    path = ROOT / name if "/" in name else RESULTS / f"{name}.json"
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def source(result: Result) -> str:
    """Say how a result came about: the command, the machine, the day, the seed."""
    machine, commands = result["machine"], result["command"]
    listed = "; ".join(f"`{line}`" for line in ([commands] if isinstance(commands, str) else commands))
    torch = f"torch {result['versions']['torch']}"
    where = f"{machine['cpu']}, {machine['cores']} cores"
    return f"{listed}: {where}, {torch}, {result['date'][:10]}, seed {result['seed']}."


def digits(value: object, n: int = 3) -> str:
    """Write a number with three digits, thousands apart; text as it is."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, n - 1 - math.floor(math.log10(abs(value))))}f}"


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """Write a table as lines of Markdown."""
    lines = (head, ["---"] * len(head), *rows)
    return [f"| {' | '.join(_cell(str(cell)) for cell in line)} |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


BLOCKS: Mapping[str, Callable[..., Iterable[str]]] = {
    function.__name__: function
    for function in (
        bench, commands, detectors, metrics, observables, quality, requirements, rooms, settings
    )
}  # fmt: skip

if __name__ == "__main__":
    main()
