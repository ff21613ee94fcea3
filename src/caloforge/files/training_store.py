"""The store that training reads: made once from shower files, found again while they are unchanged."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from caloforge.files.sparse_store import FORMAT, VERSION, ShowerStore, write_store
from caloforge.foundations.cache import OTHERS_WRITE, is_ours, private_folder
from caloforge.foundations.durable import atomic_folder, sha256, write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.locks import open_locked
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.texts import read_json, require_file

__all__ = ["ShowerStore", "prepare_store"]

CHECKSUMS = "checksums.json"
"""Remembers in the cache's folder which file had which checksum, by size and times."""


def prepare_store(
    files: Sequence[Path],
    cache: Path,
    *,
    threshold_MeV: float,
    verify: bool = True,
    progress: Progress = silent,
) -> ShowerStore:
    """Turn shower files into a store in a folder under ``cache``, or open the one made before.

    The store is found by the files' content, their order and the threshold. One that is damaged, which
    every byte of it is read for (``verify``), or that others may have written, is made again. Files are
    streamed, so memory stays bounded. Several processes may call this at once: one builds, the others wait.

    Raises UsageError for no files, the same showers twice, a wrong threshold, files on different grids or a
    cache that others can write to, CaloforgeError for a broken file or a full disk.
    """
    if not files:
        raise UsageError("data: expected at least one shower file")
    if not (math.isfinite(threshold_MeV) and threshold_MeV >= 0):
        raise UsageError(f"threshold_MeV: expected a number >= 0, got {threshold_MeV}")
    try:
        private_folder(cache)
        stamps = [_stamp(path) for path in files]
        checksums = _checksums(files, stamps, cache / CHECKSUMS)
        _refuse_twice(files, checksums)
        key = json.dumps([FORMAT, VERSION, float(threshold_MeV), checksums])
        folder = cache / f"showers-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        if (store := _whole(folder, verify)) is not None:
            return store
        with open_locked(cache / f".{folder.name}.lock"):
            if (store := _whole(folder, verify)) is not None:  # made while we waited
                return store
            with atomic_folder(folder) as temporary:
                temporary.chmod(0o700)
                write_store(temporary, files, checksums, threshold_MeV, progress)
                for path, stamp in zip(files, stamps, strict=True):
                    if _stamp(path) != stamp:
                        raise CaloforgeError(f"{path}: the file changed while it was read")
        return ShowerStore.open(folder)
    except OSError as error:
        where = error.filename or cache
        raise CaloforgeError(f"{where}: no store can be made: {error.strerror or error}") from error


def _whole(folder: Path, verify: bool) -> ShowerStore | None:
    """Open a store; None if it is absent, damaged or open to others, and has to be made."""
    try:
        ours = all(is_ours(path.lstat()) for path in (folder, *folder.iterdir()))
        if not ours or folder.stat().st_mode & OTHERS_WRITE:
            return None
        store = ShowerStore.open(folder)
        if verify:
            store.verify()
        return store
    except (CaloforgeError, OSError):
        return None


def _stamp(path: Path) -> list[int]:
    """Return a file's size and times: they change when its content does."""
    require_file(path, "a shower file")
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _checksums(files: Sequence[Path], stamps: Sequence[list[int]], memory: Path) -> list[str]:
    """Take the files' checksums; one that has the stamp in ``memory`` is not read again."""
    try:
        known = read_json(memory) if memory.is_file() else {}
    except CaloforgeError:
        known = {}
    names = [str(path.resolve()) for path in files]
    before = dict(known)
    for path, name, stamp in zip(files, names, stamps, strict=True):
        entry = known.get(name)
        if not (isinstance(entry, list) and len(entry) == 4 and entry[:3] == stamp):
            known[name] = [*stamp, sha256(path)]
    if known != before:
        with suppress(CaloforgeError):  # a cache that cannot be written still serves what it has
            write_json(memory, known)
    return [str(known[name][3]) for name in names]


def _refuse_twice(files: Sequence[Path], checksums: Sequence[str]) -> None:
    """Refuse two files of one content, link or copy: showers that are trained on would judge the training, too."""
    first: dict[str, Path] = {}
    for path, checksum in zip(files, checksums, strict=True):
        if checksum in first:
            raise UsageError(
                f"{path}: holds the same showers as {first[checksum]}; expected each file once"
            )
        first[checksum] = path
