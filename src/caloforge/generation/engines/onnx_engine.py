"""ONNX Runtime as an engine."""

from __future__ import annotations

from pathlib import Path

from caloforge.export.onnx_session import Session

__all__ = ["Compiled"]


class Compiled(Session):
    """A network in a file, for any number of callers; each computes in its own thread."""

    def __init__(self, path: Path, callers: int, threads: int) -> None:  # noqa: ARG002
        super().__init__(path, threads)
