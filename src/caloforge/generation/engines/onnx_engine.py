"""ONNX Runtime as an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

__all__ = ["Compiled"]


class Compiled:
    """A network in a file, for any number of callers; each computes in its own thread."""

    def __init__(self, path: Path, callers: int, threads: int) -> None:  # noqa: ARG002
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Compute the images of a batch."""
        image: NDArray[Any] = self._session.run(None, {name: inputs[name] for name in self._names})[0]
        return image
