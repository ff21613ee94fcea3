"""OpenVINO as an engine."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import openvino
from numpy.typing import NDArray

__all__ = ["Compiled"]


class Compiled:
    """A network compiled from a file, for so many callers with so many threads each."""

    def __init__(self, path: Path, callers: int, threads: int) -> None:
        core = openvino.Core()
        model = core.read_model(str(path))
        settings = {
            "NUM_STREAMS": callers,
            "INFERENCE_NUM_THREADS": callers * threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
        }
        self._names = [entry.any_name for entry in model.inputs]
        self._compiled = core.compile_model(model, "CPU", settings)
        self._own = threading.local()  # a request serves one thread at a time

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Compute the images of a batch."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        given = {name: inputs[name] for name in self._names}
        image: NDArray[Any] = self._own.request.infer(given, share_inputs=True, share_outputs=True)[0]
        return image
