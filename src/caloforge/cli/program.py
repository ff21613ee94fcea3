"""Run a command line so that every error is one line with the right exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import IO, Any, NoReturn

import typer

from caloforge.foundations.errors import INTERRUPTED, CaloforgeError
from caloforge.foundations.signals import handled, heard
from caloforge.foundations.texts import printable, shortened

__all__ = ["run_program"]

# typer brings its own click or the installed one, by version: take the class that it raises.
WrongUse: Any = typer.BadParameter.__base__

LONGEST = 900
"""Characters of an error: two names of files at most, and what is wrong."""

NO_MEMORY = re.compile("alloc|out of memory|start new thread|failed to map segment", re.IGNORECASE)
"""How torch, C++, the system's threads and its loader say what is a MemoryError elsewhere."""


def run_program(app: typer.Typer, name: str) -> NoReturn:
    """Run ``app`` under the ``name`` that its help and errors show.

    Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted. Errors are one line on stderr.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be UTF-8
    with _interruptible() as stops:
        code = _exit_code(app, name, stops)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _leave(stream)
    raise SystemExit(code)


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt for a batch system's end of time as for Ctrl-C; list the signals that came."""
    stops: list[int] = []
    usual = sys.unraisablehook

    def stop(number: int, _: object) -> NoReturn:
        stops.append(number)
        raise KeyboardInterrupt

    def unraisable(found: Any) -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):  # it fell into a callback, which loses it
            again = (threading.main_thread().ident or 0, signal.SIGINT)
            threading.Timer(0.05, signal.pthread_kill, again).start()
        else:
            usual(found)

    sys.unraisablehook = unraisable
    try:
        with handled(heard(), stop):
            yield stops
    finally:
        sys.unraisablehook = usual


def _exit_code(app: typer.Typer, name: str, stops: list[int]) -> int:
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
        _leave(sys.stdout)
        return 1
    except OSError as error:
        return _failed(f"{name}: {error.filename or 'system'}: {error.strerror or error}", 1)
    except Exception as error:
        if stops:  # a library that was interrupted may call that what it likes
            return _failed(f"{name}: interrupted", INTERRUPTED)
        if not _is_of_memory(error):
            raise
        return _failed(f"{name}: out of memory: {shortened(str(error), 300)}", 1)
    if code == INTERRUPTED:  # by version, typer returns this instead of raising
        return _failed(f"{name}: interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _is_of_memory(error: Exception) -> bool:
    said = isinstance(error, RuntimeError | ImportError) and NO_MEMORY.search(str(error)) is not None
    return said or isinstance(error, MemoryError)


def _failed(message: str, code: int) -> int:
    with suppress(OSError):  # with nobody to hear it the code says it all
        print(shortened(printable(" ".join(message.split())), LONGEST), file=sys.stderr)
    return code


def _leave(stream: IO[str]) -> None:
    """Let what nobody takes go nowhere, so that Python does not try once more at its very end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
