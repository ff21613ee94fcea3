"""The ``caloforge`` program: its list of commands, and how errors reach the user."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer

from caloforge.cli import (
    bench,
    convert,
    demo,
    generate,
    inspect,
    launch,
    models,
    search,
    simulate,
    train,
    validate,
)
from caloforge.foundations.errors import INTERRUPTED, CaloforgeError

__all__ = ["app", "main"]

app = typer.Typer(
    name="caloforge",
    help="Learn a calorimeter's response from Geant4, then make showers thousands of times faster.",
    no_args_is_help=True,
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
    launch,
    validate,
    models,
    search,
    bench,
    demo,
)

# typer brings its own click or the installed one, by version: take the class that it raises.
WrongUse: Any = typer.BadParameter.__base__

for _module in COMMANDS:
    _name = _module.__name__.rpartition(".")[2]
    app.command(
        _name,
        cls=getattr(_module, "COMMAND", None),
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
    """Run the command line: exit code 0 done, 1 failed, 2 wrong use; errors are one line."""
    with suppress(ValueError):  # raised outside the main thread
        # A batch system's end of time is cleaned up after like Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    try:
        code = app(prog_name="caloforge", standalone_mode=False)
        sys.stdout.flush()  # a reader that went away is noticed here, not at the very end
    except WrongUse as error:
        where = error.ctx.command_path if error.ctx is not None else "caloforge"
        problem = error.format_message() or "expected a command"
        _fail(f"{where}: {problem} (`{where} --help` has examples)", 2)
    except (typer.Abort, KeyboardInterrupt):
        _fail("caloforge: interrupted", INTERRUPTED)
    except CaloforgeError as error:
        _fail(f"caloforge: {error}", error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        _fail(f"caloforge: {error.filename or 'system'}: {error.strerror or error}", 1)
    except MemoryError as error:
        _fail(f"caloforge: out of memory: {error}", 1)
    if code == INTERRUPTED:  # by version, typer returns this instead of raising
        _fail("caloforge: interrupted", INTERRUPTED)
    raise SystemExit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    raise SystemExit(code)
