"""Run a command line so that every error is one line with the right exit code."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper
from typing import Any, NoReturn

import typer

from caloforge.foundations.errors import INTERRUPTED, CaloforgeError
from caloforge.foundations.signals import handled

__all__ = ["run_program"]

# typer brings its own click or the installed one, by version: take the class that it raises.
WrongUse: Any = typer.BadParameter.__base__


def run_program(app: typer.Typer, name: str) -> NoReturn:
    """Run ``app`` under the ``name`` that its help and errors show.

    Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted. Errors are one line on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    # A batch system's end of time is cleaned up after like Ctrl-C.
    with handled([signal.SIGTERM], signal.default_int_handler):
        raise SystemExit(_exit_code(app, name))


def _exit_code(app: typer.Typer, name: str) -> int:
    """Run ``app``, say in a line what went wrong, and return the exit code."""
    try:
        code = app(prog_name=name, standalone_mode=False)
        sys.stdout.flush()  # a reader that went away is noticed here, not at the very end
    except WrongUse as error:
        where = error.ctx.command_path if error.ctx is not None else name
        problem = error.format_message() or "expected a command"
        return _failed(f"{where}: {problem} (`{where} --help` has examples)", 2)
    except (typer.Abort, KeyboardInterrupt):
        return _failed(f"{name}: interrupted", INTERRUPTED)
    except CaloforgeError as error:
        return _failed(f"{name}: {error}", error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _failed(f"{name}: {error.filename or 'system'}: {error.strerror or error}", 1)
    except MemoryError as error:
        return _failed(f"{name}: out of memory: {error}", 1)
    if code == INTERRUPTED:  # by version, typer returns this instead of raising
        return _failed(f"{name}: interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _failed(message: str, code: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return code
