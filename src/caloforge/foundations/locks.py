"""Locks on files, between processes; the system frees one when its process ends, however that ends."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from functools import cache
from pathlib import Path
from typing import IO, Any

from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = ["BusyError", "lock", "open_locked", "warn_without_locks"]


class BusyError(UsageError):
    """Another process holds the lock."""


def lock(file: IO[Any], busy: str = "") -> None:
    """Lock an open file until it is closed.

    Waits while another process holds the lock; with ``busy``, raises BusyError with this text instead.
    Where the file system has no locks it says so once, and goes on without.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
    except BlockingIOError:
        raise BusyError(busy) from None
    except OSError as error:
        warn_without_locks(Path(file.name), error)


@cache
def _warn_once(folder: Path, reason: str) -> None:
    logging.getLogger("caloforge").warning(
        "caloforge: warning: %s: the file system has no locks (%s): start nothing else that writes there",
        folder,
        reason,
    )


def warn_without_locks(path: Path, error: OSError) -> None:
    """Say once for a folder that files in it cannot be locked."""
    _warn_once(path.parent, error.strerror or str(error))


def open_locked(path: Path, busy: str = "") -> IO[str]:
    """Open a file for appending, made where it is missing, and lock it until it is closed: see :func:`lock`.

    Raises CaloforgeError for a link, which could lead to any file.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        file = open(path, "a+", encoding="utf-8", opener=lambda name, _: os.open(name, flags, 0o666))  # noqa: SIM115
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise CaloforgeError(f"{path}: expected a file to lock, this is a link") from None
    try:
        lock(file, busy)
    except BaseException:
        file.close()
        raise
    return file
