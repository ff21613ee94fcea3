"""The two kinds of files that forms are written to, each opened again the way others open it."""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from caloforge.export.forms import Form
from caloforge.export.native import SUFFIX, read_texts
from caloforge.export.onnx_graph import exported_program, library_versions, onnx_graph, quiet
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.texts import MAX_BYTES, parse_json

__all__ = ["Container", "Onnx", "TorchScript", "read_note"]

NOTE = "caloforge.json"
"""The note's name in a TorchScript file."""


class Container(ABC):
    """A kind of file."""

    name: str
    suffix: str

    @abstractmethod
    def write(self, path: Path, form: Form, inputs: tuple[Tensor, ...], note: Mapping[str, str]) -> None:
        """Write a form with its note; ``inputs`` are examples. Raises RuntimeError for what the file cannot hold."""

    @abstractmethod
    def open(self, path: Path, form: Form) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """Return the function that the file holds, from inputs of several showers to the output."""


class Onnx(Container):
    """ONNX, with the note as the model's metadata."""

    name, suffix = "ONNX", ".onnx"

    def __init__(self, target: str) -> None:
        library_versions(["onnx", "onnxruntime", "onnxscript"], f"--target {target}", "onnx")

    def write(self, path: Path, form: Form, inputs: tuple[Tensor, ...], note: Mapping[str, str]) -> None:
        """Write it for batches of any size if the form has these, else for one shower."""
        # A size of 1 would be taken for one that never changes.
        example = tuple(rows[: 2 if form.free_batch else 1] for rows in inputs)
        free = ({0: torch.export.Dim("batch")},) * len(inputs) if form.free_batch else None
        graph = onnx_graph(form, example, form.inputs, form.output, free and (free,))
        for name, text in note.items():
            graph.metadata_props.add(key=name, value=text)
        graph.producer_name = "caloforge"
        path.write_bytes(graph.SerializeToString())

    def open(self, path: Path, form: Form) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """Open it in ONNX Runtime; forms of one shower without optimisations, as Par04 and DDML do."""
        from caloforge.export.onnx_session import Session

        session = Session(path, optimise=form.free_batch)

        def compute(inputs: tuple[Tensor, ...]) -> Tensor:
            named = {name: rows.numpy() for name, rows in zip(form.inputs, inputs, strict=True)}
            return torch.from_numpy(session(named))

        return compute if form.free_batch else _one_by_one(compute)


class TorchScript(Container):
    """TorchScript for one shower, with the note as the extra file ``caloforge.json``."""

    name, suffix = "TorchScript", ".pt"

    def write(self, path: Path, form: Form, inputs: tuple[Tensor, ...], note: Mapping[str, str]) -> None:
        """Trace the exported program, which holds what happens whatever the numbers are, not the model."""
        example = tuple(rows[:1] for rows in inputs)
        with quiet():
            program = exported_program(form, example).module()
            traced = torch.jit.trace(program, example, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, str(path), _extra_files={NOTE: json.dumps(note)})

    def open(self, path: Path, form: Form) -> Callable[[tuple[Tensor, ...]], Tensor]:  # noqa: ARG002
        """Load it as LibTorch does; torch is seeded with the shower's number before each."""
        with quiet():
            program = torch.jit.load(str(path))  # type: ignore[no-untyped-call]

        def compute(inputs: tuple[Tensor, ...]) -> Tensor:
            output: Tensor = program(*inputs)
            return output

        return _one_by_one(compute, seeded=True)


def read_note(path: Path) -> Mapping[str, str]:
    """Return what an exported file says of itself. Raises CaloforgeError where it is none, or cannot be read here."""
    try:
        if path.suffix == SUFFIX:
            return read_texts(path)
        if path.suffix == TorchScript.suffix:
            with zipfile.ZipFile(path) as parts:
                name = next(name for name in parts.namelist() if name.endswith(f"/extra/{NOTE}"))
                with parts.open(name) as file:
                    told = parse_json(file.read(MAX_BYTES).decode())
            return {name: str(text) for name, text in told.items()}
        from caloforge.export.onnx_session import Session

        return Session(path).note
    except Exception as error:  # (each library has kinds of its own)
        raise CaloforgeError(f"{path}: expected an exported file") from error


def _one_by_one(
    compute: Callable[[tuple[Tensor, ...]], Tensor], *, seeded: bool = False
) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Return a function that computes one shower at a time."""

    def run(inputs: tuple[Tensor, ...]) -> Tensor:
        made = list[Tensor]()
        for shower in range(len(inputs[0])):
            if seeded:
                torch.manual_seed(shower)
            made.append(compute(tuple(rows[shower : shower + 1] for rows in inputs)))
        return torch.cat(made)

    return run
