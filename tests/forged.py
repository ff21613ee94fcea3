"""Files whose checksums are right and whose content is not what the program would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caloforge.files.tensors import load_tensors, save_tensors


def forge_card(folder: Path, **changes: Any) -> None:
    """Save a model's weights with another card, where None takes a field away; no ``model.json`` is left."""
    tensors, note = load_tensors(folder / "model.safetensors")
    card = {name: value for name, value in {**note, **changes}.items() if value is not None}
    save_tensors(folder / "model.safetensors", tensors, card)
    (folder / "model.json").unlink(missing_ok=True)
