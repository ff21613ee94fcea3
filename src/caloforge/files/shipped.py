"""What comes with the package: Geant4 showers, and pretrained models by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

__all__ = ["pretrained_weights", "shipped_showers"]


def shipped_showers(part: str) -> Path:
    """Return the path of the package's Geant4 showers of ``clic-ecal``: ``part`` is "train" or "test"."""
    return _package() / "data" / f"clic-ecal-{part}.h5"


def pretrained_weights() -> dict[str, Path]:
    """Return the folders of the pretrained models by name."""
    return {path.parent.name: path.parent for path in sorted(_package().glob("weights/*/model.json"))}


def _package() -> Path:
    return Path(str(resources.files("caloforge")))
