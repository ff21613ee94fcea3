"""MkDocs hook: commands, settings and networks are listed from the package itself, so that no page can lag behind.

A page asks for a list with a line such as ``<!-- commands -->``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from pydantic import BaseModel
from typer.main import get_command

from caloforge.cli.main import app
from caloforge.comparison import correlations, differences, equal_conditions
from caloforge.comparison import metrics as measured
from caloforge.comparison.requirements import load_requirements
from caloforge.detector import load_detector, shipped_detectors
from caloforge.observables.definitions import OBSERVABLES
from caloforge.training.config import TrainingConfig


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page by what they ask for."""
    for name, lines in LISTS.items():
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, "\n".join(lines()))
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Drop the roles of Sphinx that docstrings use (``:class:`` before a name)."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>)", "", html)


def commands() -> Iterator[str]:
    """Describe every command: what it does, its options, and its examples."""
    group: Any = get_command(app)
    with typer.Context(group, info_name="caloforge") as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield from ("", f"## `caloforge {name}`", "", command.help or "", "")
            yield from ("| argument or option | meaning |", "|---|---|")
            for parameter in command.params:
                yield f"| {_spelled(parameter)} | {_cell(getattr(parameter, 'help', '') or '')} |"
            yield from ("", "```console")
            yield from (f"$ {line}" for line in command.epilog.split("\n\n")[1:])
            yield "```"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    default = parameter.default
    shown = default not in (None, False, "", ()) and not callable(default)
    return (
        f"{names} ({'required' if parameter.required else default})"
        if shown or parameter.required
        else names
    )


def settings(model: type[BaseModel] = TrainingConfig, prefix: str = "") -> Iterator[str]:
    """List the settings of a run with defaults and meanings, nested ones by their dotted name."""
    if not prefix:
        yield from ("| setting | default | meaning |", "|---|---|---|")
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from settings(type(default), f"{prefix}{name}.")
        else:
            shown = (
                ""
                if default is None
                else f"`{list(default) if isinstance(default, tuple) else default}`"
            )
            yield f"| `{prefix}{name}` | {shown} | {_cell(field.description or '')} |"


def detectors() -> Iterator[str]:
    """List the detectors that ship."""
    yield from (
        "| name | what | cells | cell, mm | layers | cut, mm | threshold, MeV |",
        "|---|---|---|---|---|---|---|",
    )
    for name in shipped_detectors():
        it = load_detector(name)
        cells, size = (" x ".join(map(str, pair)) for pair in (it.cells, it.cell_size_mm))
        numbers = (cells, size, it.n_layers, it.production_cut_mm, it.threshold_MeV)
        yield f"| `{name}` | {_cell(it.description)} | {' | '.join(map(str, numbers))} |"


def observables() -> Iterator[str]:
    """List the observables; what is defined along each axis is listed for x."""
    yield from ("| name | quantity | unit | definition |", "|---|---|---|---|")
    for name, it in OBSERVABLES.items():
        stem, _, axis = name.rpartition("_")
        if axis not in ("y", "z", "r", "phi", "layer") or f"{stem}_x" not in OBSERVABLES:
            unit = "" if it.unit == "1" else it.unit
            yield f"| `{name}` | {it.title} | {unit} | {_cell(it.meaning)} |"


def metrics() -> Iterator[str]:
    """Turn the lists of numbers in the modules' docstrings into Markdown lists of definitions."""
    for module in (differences, equal_conditions, correlations, measured):
        text = inspect.cleandoc(module.__doc__ or "").replace(":func:", "").replace(":mod:", "")
        term = False
        for line in text.splitlines()[2:]:
            yield line.replace("    ", ":   ", 1) if term and line.startswith("    ") else line
            term = line.startswith("``")
        yield ""


def requirements() -> Iterator[str]:
    """List the requirements that ship."""
    yield from (
        "| requirement | number in `metrics.json` | limit | in each bin of energy |",
        "|---|---|---|---|",
    )
    for it in load_requirements():
        in_bins = it.text(it.by_energy) if it.by_energy is not None else "the same"
        yield f"| {it.title} | `{it.metric}` | {it.text()} | {in_bins} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


LISTS = {
    "commands": commands,
    "detectors": detectors,
    "metrics": metrics,
    "observables": observables,
    "requirements": requirements,
    "settings": settings,
}
