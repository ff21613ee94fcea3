"""``mixer-gan``: the mixer against a critic, a design that studies compare and that no user need train."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caloforge.models.registry import WHERE

__all__ = ["known"]


@contextmanager
def known() -> Iterator[None]:
    """Let the registry know ``mixer-gan`` for the length of the block, which may lie in another such."""
    before = dict(WHERE)
    WHERE["mixer-gan"] = "studies.mixer_gan.family:MIXER_GAN"
    try:
        yield
    finally:
        if "mixer-gan" not in before:
            del WHERE["mixer-gan"]
