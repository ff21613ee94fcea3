"""Files that are whole or absent: a temporary name, fsync, rename; and checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = [
    "SEAL",
    "atomic_folder",
    "atomic_path",
    "check_output_path",
    "clear_leftovers",
    "seal",
    "sealed",
    "sha256",
    "sync_folder",
    "unsealed",
    "write_json",
    "write_text",
]

LEFTOVER = re.compile(r"\.[0-9a-f]{12}\.tmp$")


def check_output_path(path: Path, *inputs: Path) -> None:
    """Say early that a file cannot be written at ``path``, or would replace one of ``inputs``.

    A link is followed. Raises UsageError.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path}: expected a file name, this is a folder")
        if path.exists() and not path.is_file():  # a rename would replace a pipe or a device
            raise UsageError(f"{path}: expected a file name, this is not a regular file")
        folder = _real(path).parent
        if not folder.is_dir():
            raise UsageError(
                f"{path}: the folder {folder if path.is_symlink() else path.parent} does not exist"
            )
        if not os.access(folder, os.W_OK):
            raise UsageError(f"{path}: the folder {path.parent} is not writable")
        if _real(path) in map(_real, inputs):
            raise UsageError(f"{path}: the output would replace an input of the same name")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Return a temporary name to write to; on success it becomes ``path``, or what that links to.

    The data is on the disk before the name changes. On any error, KeyboardInterrupt included, the
    temporary file goes away and ``path`` stays as it was. Raises CaloforgeError for a full disk, other
    operating system errors, and what is no regular file.
    """
    real = _real(path)
    with _told_of(path), _workplace(real) as folder:
        temporary = folder / real.name
        yield temporary
        if path.exists() and not path.is_file():
            raise CaloforgeError(f"{path}: cannot be written: not a regular file")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(real)
        sync_folder(real.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Return a temporary folder to fill; on success it becomes ``path``, or what that links to.

    A folder that was there is replaced, so the caller makes sure beforehand that it may be. On any
    error, KeyboardInterrupt included, the temporary folder goes away and ``path`` stays as it was.
    Raises CaloforgeError for a full disk or other operating system errors.
    """
    real = _real(path)
    old = real.with_name(f".{real.name[:100]}.{secrets.token_hex(6)}.old")
    with _told_of(path), _workplace(real) as temporary:
        yield temporary
        try:
            if real.exists():
                real.rename(old)
            temporary.rename(real)
            sync_folder(real.parent)
        finally:
            if old.exists() and not real.exists():
                old.rename(real)
            shutil.rmtree(old, ignore_errors=True)


def _real(path: Path) -> Path:
    """Return where a path leads through all links: what is written beside it is on the same disk."""
    return Path(os.path.realpath(path))


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Turn the system's errors about ``path``, or its temporary name, into one line."""
    try:
        yield
    except OSError as error:
        about = Path(str(error.filename or path))
        if about not in (path, _real(path)) and not any(
            p.startswith(_hidden(_real(path))) for p in about.parts
        ):
            raise  # about another file than this one
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CaloforgeError(f"{path}: cannot be written: {reason}") from error


def _hidden(path: Path) -> str:
    return f".{path.name[:100]}."


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """Make a hidden folder beside ``path``, and remove those that killed processes left there.

    It is locked while this process lives, which tells it from what was left.
    """
    clear_leftovers(path.parent, _hidden(path))
    descriptor = None
    while descriptor is None:
        # Random, since processes on several nodes may share the folder.
        folder = path.with_name(f"{_hidden(path)}{secrets.token_hex(6)}.tmp")
        folder.mkdir()
        descriptor = _locked(folder, new=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def clear_leftovers(folder: Path, prefix: str) -> None:
    """Remove what killed processes left of files and folders that they wrote in ``folder``.

    ``prefix`` is a dot and how the names of these begin.
    """
    with suppress(OSError):  # whoever writes there is told
        for path in list(folder.iterdir()):
            if not (path.name.startswith(prefix) and LEFTOVER.search(path.name)):
                continue
            descriptor = _locked(path, new=False)
            if descriptor is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(descriptor)


def _locked(folder: Path, *, new: bool) -> int | None:
    """Open a temporary folder and lock it; None where it is gone, another's, or in use.

    A file system may have no locks: then a new folder goes without, and one that is there counts as in use.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if new and not isinstance(error, FileNotFoundError):
            raise
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = folder.is_dir() and os.fstat(descriptor).st_uid == os.geteuid()
    except OSError as error:
        mine = new and not isinstance(error, BlockingIOError)
    if not mine:
        os.close(descriptor)
        return None
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut, where the file system knows how."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, data: Any) -> None:
    """Write indented JSON whole or not at all; NaN and infinities are refused (ValueError)."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


SEAL = "sha256"
"""Under this name a file of JSON or YAML holds the checksum of all else that it says."""


def seal(data: Any) -> str:
    """Return the checksum of what JSON can hold, however it is laid out in a file."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with their checksum."""
    return {**data, SEAL: seal(data)}


def unsealed(data: Mapping[str, Any], source: str, advice: str = "") -> dict[str, Any]:
    """Return data without their checksum; what was written before there were any has none.

    Raises CaloforgeError naming the source where they are not what :func:`sealed` was given.
    """
    rest = {name: value for name, value in data.items() if name != SEAL}
    try:
        same = SEAL not in data or data[SEAL] == seal(rest)
    except (TypeError, ValueError):  # nothing that JSON can hold
        same = False
    if not same:
        raise CaloforgeError(f"{source}: field {SEAL}: changed or damaged since it was written{advice}")
    return rest


def sha256(path: Path) -> str:
    """Return the checksum of a file's bytes, as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
