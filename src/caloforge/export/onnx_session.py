"""ONNX Runtime: opens an ONNX file and computes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

__all__ = ["Session"]


class Session:
    """A network in a file, for any number of callers; each computes in its own thread.

    ``note`` is what the file says of itself.
    """

    def __init__(self, path: Path, threads: int = 1, *, optimise: bool = True) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        if not optimise:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._names = [entry.name for entry in self._session.get_inputs()]
        self.note: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Compute the first output; inputs that the file does not have are left out."""
        output: NDArray[Any] = self._session.run(None, {name: inputs[name] for name in self._names})[0]
        return output
