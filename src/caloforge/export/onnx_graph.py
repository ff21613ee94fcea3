"""A network's forward pass as an ONNX graph: the one way in which this package writes ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from caloforge.export.decompositions import decompositions
from caloforge.foundations.errors import MissingExtraError

__all__ = ["exported_program", "library_versions", "onnx_graph", "quiet"]


def library_versions(names: Sequence[str], feature: str, extra: str) -> list[str]:
    """Return the versions of packages. Raises MissingExtraError, saying what needs it, where one is not installed."""
    try:
        return [version(name) for name in names]
    except PackageNotFoundError:
        raise MissingExtraError(feature, extra) from None


def onnx_graph(
    module: nn.Module,
    example: tuple[Any, ...],
    inputs: Sequence[str],
    output: str,
    dynamic_shapes: Any = None,
) -> Any:
    """Return a module as an ONNX ``ModelProto`` with named inputs, constants folded.

    The shapes are those of the example but where ``dynamic_shapes``, as of ``torch.export``, sets them free. Raises RuntimeError for what
    a graph cannot hold, such as a branch that depends on numbers.
    """
    with torch.no_grad(), quiet():
        program = exported_program(module, example, dynamic_shapes)
        made = torch.onnx.export(
            program.run_decompositions(decompositions()),
            example,
            input_names=list(inputs),
            output_names=[output],
            dynamo=True,
            verbose=False,
        )
    assert made is not None
    return made.model_proto


def exported_program(
    module: nn.Module, example: tuple[Any, ...], dynamic_shapes: Any = None
) -> torch.export.ExportedProgram:
    """Return what a module does with an example, operation by operation. Raises as :func:`onnx_graph` does."""
    module(*example)  # what is worked out once and kept, such as a Fourier transform, must be there
    return torch.export.export(module, example, dynamic_shapes=dynamic_shapes)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters from telling what they could not use, such as packages for vision."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
