"""A model's forward pass as an ONNX file, which every engine reads; made once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from caloforge.export.onnx_graph import library_versions, onnx_graph
from caloforge.files.tensors import digest
from caloforge.foundations.cache import cache_folder, is_ours
from caloforge.foundations.durable import atomic_path, sha256
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.showers.batch import Given

__all__ = ["INPUTS", "fingerprint", "onnx_file"]

INPUTS = ("energy", "theta", "phi", "impact", "particle", "noise")
"""Names of the inputs; the output is ``image``."""


def onnx_file(model: ShowerModel, batch: int, extra: str) -> Path:
    """Return the file for batches of just this size, from the cache or made now, which takes seconds.

    Its name ends with its checksum: one whose content is another is made again. Constants are folded, and the file ends with the model's image: noise, transformations and threshold
    stay with the model. Raises MissingExtraError naming ``extra`` without the packages that write it,
    CaloforgeError for a model that does what ONNX cannot.
    """
    versions = library_versions(["torch", "onnx", "onnxscript"], f"--engine {extra}", extra)
    folder, name = cache_folder("onnx"), fingerprint(model, [batch, versions])
    for path in folder.glob(f"{name}-*.onnx"):
        with suppress(FileNotFoundError):  # another process was quicker to remove it
            if is_ours(path.lstat()) and path.stem == f"{name}-{sha256(path)}":
                return path
            path.unlink()
    try:
        content = _export(model, batch)
    except RuntimeError as error:  # of which torch's errors of tracing and exporting are kinds
        reason = str(error).strip().partition("\n")[0]
        raise CaloforgeError(
            f"--engine {extra}: {type(model).__name__} cannot be written as ONNX: {reason}"
        ) from error
    path = folder / f"{name}-{hashlib.sha256(content).hexdigest()}.onnx"
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def fingerprint(model: ShowerModel, more: Any) -> str:
    """Name a model by its weights, its grid, the code that computes and exports it, and whatever else matters."""
    code = hashlib.sha256(Path(__file__).read_bytes())
    for room in ("caloforge.models", "caloforge.export"):
        for file in sorted(Path(str(files(room))).rglob("*.py")):
            code.update(file.read_bytes())
    note = [type(model).__qualname__, model.grid.to_json(), code.hexdigest(), more]
    return digest(model.state_dict(), json.dumps(note))[:32]


def _export(model: ShowerModel, batch: int) -> bytes:
    given = Given.of(torch.full((batch,), 100 * GEV), torch.full((batch,), 1.5))
    graph = onnx_graph(model, (given, model.noise(0, 0, batch)), INPUTS, "image")
    content: bytes = graph.SerializeToString()
    return content
