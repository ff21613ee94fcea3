"""Locks on files, between processes; the system frees one when its process ends, however that ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO, Any

from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = ["BusyError", "lock", "open_locked"]


class BusyError(UsageError):
    """Another process holds the lock."""


def lock(file: IO[Any], busy: str = "") -> None:
    """Lock an open file until it is closed.

    Waits while another process holds the lock; with ``busy``, raises BusyError with this text instead.
    Raises CaloforgeError where the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except BlockingIOError:
        raise BusyError(busy) from None
    except OSError as error:
        raise CaloforgeError(f"{file.name}: the file system has no locks: {error.strerror}") from None


def open_locked(path: Path, busy: str = "") -> IO[str]:
    """Open a file for appending, made where it is missing, and lock it until it is closed: see :func:`lock`."""
    file = path.open("a", encoding="utf-8")
    try:
        lock(file, busy)
    except BaseException:
        file.close()
        raise
    return file
