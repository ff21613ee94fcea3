"""Run a command line so that every error is one line with the right exit code."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, NoReturn

import typer

from caloforge.foundations.errors import INTERRUPTED, CaloforgeError

__all__ = ["run_program"]

# typer brings its own click or the installed one, by version: take the class that it raises.
WrongUse: Any = typer.BadParameter.__base__


def run_program(app: typer.Typer, name: str) -> NoReturn:
    """Run ``app`` under the ``name`` that its help and errors show.

    Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted. Errors are one line on stderr.
    """
    with suppress(ValueError):  # raised outside the main thread
        # A batch system's end of time is cleaned up after like Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    try:
        code = app(prog_name=name, standalone_mode=False)
        sys.stdout.flush()  # a reader that went away is noticed here, not at the very end
    except WrongUse as error:
        where = error.ctx.command_path if error.ctx is not None else name
        problem = error.format_message() or "expected a command"
        _fail(f"{where}: {problem} (`{where} --help` has examples)", 2)
    except (typer.Abort, KeyboardInterrupt):
        _fail(f"{name}: interrupted", INTERRUPTED)
    except CaloforgeError as error:
        _fail(f"{name}: {error}", error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        _fail(f"{name}: {error.filename or 'system'}: {error.strerror or error}", 1)
    except MemoryError as error:
        _fail(f"{name}: out of memory: {error}", 1)
    if code == INTERRUPTED:  # by version, typer returns this instead of raising
        _fail(f"{name}: interrupted", INTERRUPTED)
    raise SystemExit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    raise SystemExit(code)
