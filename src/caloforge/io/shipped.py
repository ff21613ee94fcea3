"""The Geant4 showers that ship with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["shipped_showers"]


def shipped_showers(part: str) -> Path:
    """Path of the Geant4 showers of ``clic-ecal`` that ship: ``part`` is "train" or "test"."""
    return Path(str(resources.files("caloforge"))) / "data" / f"clic-ecal-{part}.h5"
