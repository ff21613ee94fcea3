"""The program's beginning, for ``caloforge`` and for launchers that start modules: what comes before all imports."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from caloforge.foundations.errors import INTERRUPTED
from caloforge.foundations.signals import handled, heard

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line."""
    _open_closed()
    with handled(heard(), _stop):
        from caloforge.cli.main import main as run
    run()


def _open_closed() -> None:
    """Let nothing be where standard streams are closed: a file that was opened there would get what is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (as long as the process)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _stop(*_: object) -> NoReturn:
    """End at once: nothing has begun, and no library that is half imported gets to say anything."""
    with suppress(OSError):
        os.write(2, b"caloforge: interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
