"""Weights of the original Keras code, read from the HDF5 files that it saved.

Two layouts are known. Keras 2 (``save_weights``, or the group ``model_weights`` of a whole model)
lists ``layer_names``, and for each ``weight_names``; an inner model is one layer whose trainable
weights come before all others. Keras 3 (``*.weights.h5``) nests groups ``layers/NAME/vars/0``, named
by class and number. In both, layers of one kind stand in the order in which they act, which is all
that is needed: names differ from file to file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caloforge.files.hdf5 import numeric_dataset, open_hdf5, read_rows
from caloforge.foundations.errors import CaloforgeError
from caloforge.models.threedgan.layers import Convolution

__all__ = ["load_keras_weights"]

Kind = Literal["convolution", "dense layer", "normalisation"]
Array = NDArray[np.float32]

VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
NOT_LAYERS = ("vars", "optimizer", "metrics", "seed_generator")


@dataclass(frozen=True)
class _Layer:
    """A layer of the file: its arrays in the order of VARIABLES, with Keras' axes."""

    name: str
    arrays: list[Array]

    @property
    def kind(self) -> Kind | None:
        dimensions = [array.ndim for array in self.arrays]
        kinds: dict[tuple[int, ...], Kind] = {
            (5,): "convolution",
            (5, 1): "convolution",
            (2, 1): "dense layer",
            (1, 1, 1, 1): "normalisation",
        }
        return kinds.get(tuple(dimensions))


def load_keras_weights(path: Path, module: nn.Module) -> None:
    """Load a generator's or a discriminator's weights into ``module``, which has the same layers.

    Layers of a kind are matched in order. Nothing is changed unless everything fits. Raises
    CaloforgeError naming the layer, the expected and the found shape.
    """
    with open_hdf5(path) as file:
        try:
            layers = list(_layers(file, path))
        except (ArithmeticError, KeyError, OSError, RuntimeError, TypeError, ValueError):
            raise CaloforgeError(f"{path}: cannot be read as weights of Keras") from None
    odd = next((layer for layer in layers if layer.kind is None), None)
    if odd is not None:
        shapes = ", ".join(str(array.shape) for array in odd.arrays)
        raise CaloforgeError(
            f"{path}: layer {odd.name}: expected a 3D convolution, a dense layer or a batch "
            f"normalisation, found arrays of shapes {shapes}"
        )
    pairs: list[tuple[Tensor, Array]] = []
    targets = list(_targets(module))
    for kind in ("convolution", "dense layer", "normalisation"):
        found = [layer for layer in layers if layer.kind == kind]
        wanted = [tensors for wanted_kind, tensors in targets if wanted_kind == kind]
        if len(found) != len(wanted):
            raise CaloforgeError(f"{path}: {kind}s: expected {len(wanted)}, found {len(found)}")
        for layer, tensors in zip(found, wanted, strict=True):
            pairs += _match(path, layer, tensors)
    with torch.no_grad():
        for tensor, array in pairs:
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def _targets(module: nn.Module) -> Iterator[tuple[Kind, list[Tensor]]]:
    for layer in module.modules():
        if isinstance(layer, Convolution):
            yield "convolution", [t for t in (layer.weight, layer.bias) if t is not None]
        elif isinstance(layer, nn.Linear):
            yield "dense layer", [layer.weight, layer.bias]
        elif isinstance(layer, nn.BatchNorm3d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            yield "normalisation", [layer.weight, layer.bias, layer.running_mean, layer.running_var]


def _match(path: Path, layer: _Layer, tensors: list[Tensor]) -> Iterator[tuple[Tensor, Array]]:
    expected = [tuple(_to_keras(tensor).shape) for tensor in tensors]
    found = [array.shape for array in layer.arrays]
    if found != expected:
        raise CaloforgeError(
            f"{path}: layer {layer.name}: expected shapes {_list(expected)}, found {_list(found)}"
        )
    for tensor, array in zip(tensors, layer.arrays, strict=True):
        if not np.isfinite(array).all():
            raise CaloforgeError(
                f"{path}: layer {layer.name}: expected finite weights, found NaN or inf"
            )
        yield _to_keras(tensor), array


def _to_keras(tensor: Tensor) -> Tensor:
    """View weights with Keras' axes: (x, y, z, in, out) of a kernel, (in, out) of a dense layer."""
    if tensor.ndim == 5:
        return tensor.detach().permute(2, 3, 4, 1, 0)
    return tensor.detach().T if tensor.ndim == 2 else tensor.detach()


def _list(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


def _layers(file: h5py.File, path: Path) -> Iterator[_Layer]:
    root = _group(file, path, "model_weights") if "model_weights" in file else file
    if "layer_names" in root.attrs:
        for name in _names(root, "layer_names"):
            yield from _keras_2(_group(root, path, name), path, name)
    elif "layers" in file:
        yield from _keras_3(_group(file, path, "layers"), path, "layers")
    else:
        raise CaloforgeError(
            f"{path}: expected weights saved by Keras: an attribute layer_names or a group layers"
        )


def _keras_2(group: h5py.Group, path: Path, layer_name: str) -> Iterator[_Layer]:
    """Gather the weights of each layer of an inner model: those of BatchNorm stand apart."""
    by_layer: dict[str, dict[str, Array]] = {}
    for weight_name in _names(group, "weight_names"):
        owner, _, variable = weight_name.rpartition("/")
        *folders, dataset = weight_name.split("/")
        holder = group
        for folder in folders:
            holder = _group(holder, path, folder)
        array = _array(holder, path, dataset)
        by_layer.setdefault(owner or layer_name, {})[variable.partition(":")[0]] = array
    for name, arrays in by_layer.items():
        yield _Layer(name, [arrays[v] for v in sorted(arrays, key=VARIABLES.index)])


def _keras_3(group: h5py.Group, path: Path, name: str) -> Iterator[_Layer]:
    """Walk the groups; conv3d_10 comes after conv3d_9."""
    if "vars" in group:
        variables = _group(group, path, "vars")
        if len(variables):
            yield _Layer(name, [_array(variables, path, str(i)) for i in range(len(variables))])
    for child in sorted(set(group) - set(NOT_LAYERS), key=_natural):
        yield from _keras_3(_group(group, path, child), path, child)


def _natural(name: str) -> tuple[str, int]:
    stem, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, int(number or 0)


def _names(group: h5py.Group, attribute: str) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in np.ravel(group.attrs[attribute])]


def _group(parent: h5py.Group, path: Path, name: str) -> h5py.Group:
    # A link could lead to any other file of the reader's.
    local = isinstance(parent.get(name, getlink=True), h5py.HardLink)
    group = parent[name] if local else None
    if not isinstance(group, h5py.Group):
        raise CaloforgeError(f"{path}: {parent.name}: expected a group {name}")
    return group


def _array(group: h5py.Group, path: Path, name: str) -> Array:
    dataset: Any = numeric_dataset(group, path, name, (None,) * group[name].ndim, kinds="f")
    return read_rows(dataset, path, slice(None), np.float32)
