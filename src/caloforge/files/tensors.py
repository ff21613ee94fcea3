"""Tensors with a JSON note in one safetensors file that knows its own checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from caloforge.foundations.durable import atomic_path
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import parse_json

__all__ = ["digest", "load_into", "load_tensors", "require_shapes", "save_tensors"]


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-ready note, whole or not at all."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(note, allow_nan=False)
    metadata = {"note": text, "sha256": digest(stored, text)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(stored, metadata=metadata))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote, and check every byte. Nothing is unpickled.

    Raises UsageError where there is no file, CaloforgeError where its content is not what was saved.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CaloforgeError(f"{path}: not a whole safetensors file ({error})") from None
    text = metadata.get("note", "")
    if metadata.get("sha256") != digest(tensors, text):
        raise CaloforgeError(f"{path}: the checksum does not fit the content, the file is damaged")
    try:
        return tensors, parse_json(text)
    except ValueError as error:
        raise CaloforgeError(f"{path}: note: expected JSON: {error}") from None


def load_into(network: nn.Module, tensors: Mapping[str, torch.Tensor], prefix: str = "") -> None:
    """Load the tensors called ``prefix.*`` into a network. Raises as :func:`require_shapes` does."""
    require_shapes(network, tensors, prefix)
    dot = f"{prefix}." if prefix else ""
    network.load_state_dict({name: tensors[dot + name] for name in network.state_dict()})


def require_shapes(network: nn.Module, tensors: Mapping[str, torch.Tensor], prefix: str = "") -> None:
    """Raise CaloforgeError naming the first weight of a network that is missing or has another shape."""
    dot = f"{prefix}." if prefix else ""
    for name, value in network.state_dict().items():
        found = tensors.get(dot + name)
        shape = "nothing" if found is None else f"shape {tuple(found.shape)}"
        if found is None or found.shape != value.shape:
            raise CaloforgeError(
                f"weights {dot}{name}: expected shape {tuple(value.shape)}, found {shape}"
            )


def digest(tensors: Mapping[str, torch.Tensor], note: str) -> str:
    """Return the checksum of tensors, their names and a note."""
    sha = hashlib.sha256(note.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        # reshape(-1).view: the bytes of any type (bf16 too) and of scalars.
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
