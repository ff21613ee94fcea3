"""Where results that can be made again are kept: computed tables, prepared stores."""

from __future__ import annotations

import os
from pathlib import Path

from caloforge.foundations.errors import UsageError

__all__ = ["cache_folder"]


def cache_folder(kind: str) -> Path:
    """Make and return the folder for one kind of result.

    ``CALOFORGE_CACHE`` names the place (a node's local disk on a cluster), else
    ``XDG_CACHE_HOME/caloforge``, else ``~/.cache/caloforge``. Raises UsageError if it cannot be made.
    """
    place = os.environ.get("CALOFORGE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(place) if place else home / "caloforge") / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be made ({error.strerror}); CALOFORGE_CACHE names another place"
        ) from None
    return folder
