"""What computes a model's forward pass: torch itself, or an engine that reads it as ONNX.

An engine maps what showers are given and noise (B, L) to images, as :meth:`ShowerModel.forward` does.
Noise, transformations and the threshold stay with the model, so they are the same for all.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caloforge.export.onnx_graph import library_versions
from caloforge.foundations.cache import cache_folder
from caloforge.foundations.durable import SEAL, seal, sealed, write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import read_json
from caloforge.generation.engines.native_engine import NativeForward, native_there
from caloforge.generation.engines.onnx_file import INPUTS, fingerprint, onnx_file
from caloforge.models.base import Forward, ShowerModel
from caloforge.showers import Conditions
from caloforge.showers.batch import Given

__all__ = ["ENGINES", "NATIVE", "choose", "installed", "make_forward"]

LIBRARIES = {"onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino", "onnxscript")}
"""What an engine needs beside torch, by the name of the engine and of its extra."""

NATIVE = "native"
"""libcaloforge, which is no package: where it is there, it is the fastest for the models that it knows."""

ENGINES = ("torch", NATIVE, *LIBRARIES)

PIECE = 32
"""Showers that an engine makes at once: what they need then stays in a cache."""

ROUNDS = 5


class _Exported:
    """A forward pass in pieces of a fixed size; the last one is filled up."""

    def __init__(
        self, run: Callable[[dict[str, NDArray[Any]]], NDArray[Any]], shape: tuple[int, ...], piece: int
    ) -> None:
        self._run, self._shape, self._piece = run, shape, piece

    def __call__(self, given: Given, noise_BL: Tensor) -> Tensor:
        image_BXYZ = np.empty((len(noise_BL), *self._shape), np.float32)
        whole = [tensor.numpy() for tensor in (*given, noise_BL)]
        for first in range(0, len(noise_BL), self._piece):
            place = slice(first, first + self._piece)
            parts = [self._filled(values[place]) for values in whole]
            out = image_BXYZ[place]
            out[...] = self._run(dict(zip(INPUTS, parts, strict=True)))[: len(out)]
        return torch.from_numpy(image_BXYZ)

    def _filled(self, values: NDArray[Any]) -> NDArray[Any]:
        missing = self._piece - len(values)
        if missing:
            values = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
        return np.ascontiguousarray(values)


def installed() -> list[str]:
    """List the engines whose packages are installed, torch first, libcaloforge next where it is there."""
    found = ["torch", *[NATIVE] * native_there()]
    for name, libraries in LIBRARIES.items():
        with suppress(PackageNotFoundError):
            for library in libraries:
                version(library)
            found.append(name)
    return found


def make_forward(
    name: str, model: ShowerModel, batch: int, callers: int = 1, threads: int = 1
) -> Forward:
    """Return the function that computes the forward pass for batches of at most this size.

    It serves ``callers`` at a time, each with so many threads. Raises MissingExtraError where the
    engine is not installed, UsageError for an unknown one.
    """
    if name == "torch":
        return model
    if name == NATIVE:
        return NativeForward(model)
    if name not in LIBRARIES:
        raise UsageError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    library_versions(LIBRARIES[name], f"--engine {name}", name)
    piece = min(batch, PIECE)
    load = import_module(f"caloforge.generation.engines.{name}_engine").Compiled
    for _ in range(2):  # a file that does not load is made again, once
        path = onnx_file(model, piece, name)
        try:
            return _Exported(load(path, callers, threads), model.grid.shape, piece)
        except Exception as error:  # noqa: BLE001 (each engine has kinds of its own)
            path.unlink(missing_ok=True)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
    raise CaloforgeError(f"--engine {name}: {type(model).__name__} cannot be loaded: {reason}")


def choose(
    model: ShowerModel, conditions: Conditions, callers: int = 1, threads: int = 1
) -> tuple[str, dict[str, float]]:
    """Return the fastest engine for batches like ``conditions``, and the ms a shower of each for one caller.

    That is libcaloforge where it is there and knows the model. Else it is measured once for a machine, the
    installed versions, the weights and the batch; then remembered.
    """
    names = installed()
    if NATIVE in names:
        with suppress(CaloforgeError):
            make_forward(NATIVE, model, len(conditions), callers, threads)
            return NATIVE, {}
        names.remove(NATIVE)
    if len(names) == 1:
        return names[0], {}
    versions = [version("torch"), *(version(LIBRARIES[name][0]) for name in names[1:])]
    machine = [platform.node(), platform.machine(), os.cpu_count()]
    key = fingerprint(model, [machine, versions, names, len(conditions), callers, threads])
    memory = cache_folder("engines") / f"{key}.json"
    times = _remembered(memory, names)
    if not times:
        times = _measure(names, model, conditions, threads)
        with suppress(CaloforgeError):  # a cache that cannot be written delays the next run only
            write_json(memory, sealed(times))
    return min(times, key=lambda name: times[name]), times


def _measure(
    names: list[str], model: ShowerModel, conditions: Conditions, threads: int
) -> dict[str, float]:
    forwards = {"torch": make_forward("torch", model, len(conditions), 1, threads)}
    for name in names[1:]:
        with suppress(CaloforgeError):  # not every model can be written for another engine
            forwards[name] = make_forward(name, model, len(conditions), 1, threads)
    taken: dict[str, list[float]] = {name: [] for name in forwards}
    for turn in range(-1, ROUNDS):  # the first call allocates and plans
        for name, forward in forwards.items():
            started = time.perf_counter()
            model.sample(conditions, 1, forward=forward)
            if turn >= 0:
                taken[name].append(time.perf_counter() - started)
    return {name: round(1e3 * min(times) / len(conditions), 4) for name, times in taken.items()}


def _remembered(memory: Path, names: list[str]) -> dict[str, float]:
    with suppress(CaloforgeError, ValueError, TypeError):
        times = read_json(memory)
        if times.pop(SEAL, "") == seal(times):
            return {name: float(times[name]) for name in names if name in times}
    return {}
