"""The ``caloforge`` program: its list of commands."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from caloforge.cli import (
    bench,
    convert,
    demo,
    export,
    generate,
    inspect,
    launch,
    models,
    search,
    simulate,
    train,
    validate,
)
from caloforge.cli.multi_value_options import Command
from caloforge.cli.program import run_program

__all__ = ["app", "main"]

app = typer.Typer(
    name="caloforge",
    help="Learn a calorimeter's response from Geant4, then make showers much faster.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    simulate,
    convert,
    inspect,
    train,
    generate,
    export,
    launch,
    validate,
    models,
    search,
    bench,
    demo,
)

for _module in COMMANDS:
    _name = _module.__name__.rpartition(".")[2]
    app.command(
        _name,
        cls=getattr(_module, "COMMAND", Command),
        context_settings=getattr(_module, "SETTINGS", None),
        epilog="\n\n".join(("Examples:", *_module.EXAMPLES)),
    )(_module.run)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"caloforge {version('caloforge')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Keep sub-commands even where only one is registered."""


def main() -> NoReturn:
    """Run the command line; without any word it shows the help."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    run_program(app, "caloforge")
