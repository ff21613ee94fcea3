"""A model's forward pass as an ONNX file, which every engine reads; made once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caloforge.files.tensors import digest
from caloforge.foundations.cache import cache_folder, is_ours
from caloforge.foundations.durable import atomic_path, sha256
from caloforge.foundations.errors import CaloforgeError, MissingExtraError
from caloforge.foundations.units import GEV
from caloforge.models.base import ShowerModel
from caloforge.showers.batch import Given

__all__ = ["INPUTS", "fingerprint", "library_versions", "onnx_file"]

INPUTS = ("energy", "theta", "phi", "impact", "particle", "noise")
"""Names of the inputs; the output is ``image``."""


def onnx_file(model: ShowerModel, batch: int, extra: str) -> Path:
    """Return the file for batches of just this size, from the cache or made now, which takes seconds.

    Its name ends with its checksum: one whose content is another is made again. Constants are folded, and the file ends with the model's image: noise, transformations and threshold
    stay with the model. Raises MissingExtraError naming ``extra`` without the packages that write it,
    CaloforgeError for a model that does what ONNX cannot.
    """
    versions = library_versions(["torch", "onnx", "onnxscript"], extra)
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


def library_versions(names: Sequence[str], extra: str) -> list[str]:
    """Return the versions of packages. Raises MissingExtraError where one is not installed."""
    try:
        return [version(name) for name in names]
    except PackageNotFoundError:
        raise MissingExtraError(f"--engine {extra}", extra) from None


def fingerprint(model: ShowerModel, more: Any) -> str:
    """Name a model by its weights, its grid, the code that computes and exports it, and whatever else matters."""
    code = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(Path(str(files("caloforge.models"))).rglob("*.py")):
        code.update(file.read_bytes())
    note = [type(model).__qualname__, model.grid.to_json(), code.hexdigest(), more]
    return digest(model.state_dict(), json.dumps(note))[:32]


def _export(model: ShowerModel, batch: int) -> bytes:
    given = Given.of(torch.full((batch,), 100 * GEV), torch.full((batch,), 1.5))
    example = (given, model.noise(0, 0, batch))
    with torch.no_grad(), _quiet():
        model(*example)  # what is worked out once and kept, such as a Fourier transform, must be there
        program = torch.export.export(model, example).run_decompositions(_decompositions())
        exported = torch.onnx.export(
            program,
            example,
            input_names=list(INPUTS),
            output_names=["image"],
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    content: bytes = exported.model_proto.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling what it could not use, such as packages for vision."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Say what ONNX lacks in what it has."""
    aten = torch.ops.aten
    table: dict[Any, Callable[..., Any]] = torch.export.default_decompositions()
    table[aten.erfinv.default] = erfinv
    table[aten.copysign.Tensor] = lambda size, sign: torch.where(sign < 0, -size.abs(), size.abs())
    table[aten.floor_divide.default] = floor_divide
    table[aten.full_like.default] = _full_like
    table[aten.index_add.default] = lambda x, dim, index, source: x.scatter_add(dim, index, source)
    return table


def _full_like(x: Tensor, value: float, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.full(x.shape, value, dtype=dtype or x.dtype)


def floor_divide(x: Tensor, by: int) -> Tensor:
    """Divide integers up to 2^24 exactly, though an engine may multiply by a rounded inverse: 41 / 41 below 1."""
    whole = torch.floor(x.float() / by).long()
    rest = x - whole * by
    return whole + (rest >= by).long() - (rest < 0).long()


CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
TAIL = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def erfinv(x: Tensor) -> Tensor:
    """Return the inverse error function in single precision.

    Source: M. Giles, "Approximating the erfinv function", GPU Computing Gems, Jade edition (2012) 109.
    """
    w = -torch.log((1 - x) * (1 + x))
    return x * torch.where(w < 5, _polynomial(w - 2.5, CENTRAL), _polynomial(torch.sqrt(w) - 3, TAIL))


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    first, second, *others = coefficients
    value = first * x + second
    for coefficient in others:
        value = value * x + coefficient
    return value
