"""Where results that can be made again are kept: computed tables, prepared stores."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from caloforge.foundations.errors import UsageError

__all__ = ["cache_folder", "home", "is_ours", "private_folder"]

ELSEWHERE = "CALOFORGE_CACHE names another place"
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def home() -> Path | None:
    """Return the user's own folder; None for the nameless users that containers have."""
    with suppress(RuntimeError):
        return Path.home()
    return None


def cache_folder(kind: str) -> Path:
    """Make and return the folder for one kind of result.

    ``CALOFORGE_CACHE`` names the place (a node's local disk on a cluster), else
    ``XDG_CACHE_HOME/caloforge``, else ``~/.cache/caloforge``; for users who cannot make that a folder of
    their own among the temporary ones. Raises UsageError if it cannot be made, or is not for us alone to
    write to.
    """
    named, shared = os.environ.get("CALOFORGE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    own = home()
    try:
        if named or shared:
            return private_folder((Path(named) if named else Path(str(shared)) / "caloforge") / kind)
        with suppress(OSError):
            if own is not None:
                return private_folder(own / ".cache" / "caloforge" / kind)
        place = Path(tempfile.gettempdir()) / f"caloforge-{os.geteuid()}"
        return private_folder(private_folder(place) / kind)
    except OSError as error:
        raise UsageError(f"{error.filename}: cannot be made ({error.strerror}); {ELSEWHERE}") from None


def private_folder(folder: Path) -> Path:
    """Make a folder that its owner alone writes to, or check that the one there is so; return it.

    What others put there could be taken for ours. Raises UsageError, or OSError where it cannot be made.
    """
    for each in (folder.parent, folder):
        each.mkdir(0o700, parents=True, exist_ok=True)
    own, above = folder.stat(), folder.parent.stat()
    if not is_ours(own):
        raise UsageError(f"{folder}: belongs to another user (uid {own.st_uid}); {ELSEWHERE}")
    open_above = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    for path, is_open in ((folder, own.st_mode & OTHERS_WRITE), (folder.parent, open_above)):
        if is_open:
            raise UsageError(f"{path}: others can write to it; `chmod go-w` closes it, or {ELSEWHERE}")
    return folder


def is_ours(status: os.stat_result) -> bool:
    """Say whether a file belongs to us, or to root, who may do anything in any case."""
    return status.st_uid in (os.geteuid(), 0)
