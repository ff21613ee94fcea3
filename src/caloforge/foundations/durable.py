"""Files that are whole or absent: a temporary name, fsync, rename; and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = [
    "atomic_folder",
    "atomic_path",
    "check_output_path",
    "sha256",
    "sync_folder",
    "write_json",
    "write_text",
]


def check_output_path(path: Path, *inputs: Path) -> None:
    """Say early that a file cannot be written at ``path``, or would replace one of ``inputs``.

    Raises UsageError.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path}: expected a file name, this is a folder")
        if path.exists() and not path.is_file():  # a rename would replace a pipe or a device
            raise UsageError(f"{path}: expected a file name, this is not a regular file")
        if not path.parent.is_dir():
            raise UsageError(f"{path}: the folder {path.parent} does not exist")
        if not os.access(path.parent, os.W_OK):
            raise UsageError(f"{path}: the folder {path.parent} is not writable")
        if os.path.realpath(path) in map(os.path.realpath, inputs):
            raise UsageError(f"{path}: the output would replace an input of the same name")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Return a temporary name beside ``path`` to write to; on success it becomes ``path``.

    The data is on the disk before the name changes. On any error, KeyboardInterrupt included, the
    temporary file goes away and ``path`` stays as it was. Raises CaloforgeError for a full disk or
    other operating system errors.
    """
    # Random, since processes on several nodes may share the folder and, by chance, a process id.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename not in (None, str(temporary), str(path)):
            raise  # about another file than this one
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CaloforgeError(f"{path}: cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Return a temporary folder beside ``path`` to fill; on success it becomes ``path``.

    A folder that was there is replaced, so the caller makes sure beforehand that it may be. On any
    error, KeyboardInterrupt included, the temporary folder goes away and ``path`` stays as it was.
    Raises CaloforgeError for a full disk or other operating system errors.
    """
    temporary, old = (
        path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.{suffix}")
        for suffix in ("tmp", "old")
    )
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CaloforgeError(f"{path}: cannot be written: {reason}") from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for leftover in (temporary, old):
            shutil.rmtree(leftover, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON whole or not at all; NaN and infinities are refused (ValueError)."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Return the checksum of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
