"""ONNX Runtime as an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

__all__ = ["load"]


class _Session:
    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        image: NDArray[Any] = self._session.run(None, {name: inputs[name] for name in self._names})[0]
        return image


def load(path: Path, streams: int, threads: int) -> _Session:  # noqa: ARG001
    """Load a file; streams may share what comes back, each computes in its own thread."""
    return _Session(path, threads)
