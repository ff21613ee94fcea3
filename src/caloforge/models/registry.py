"""Every model by name: a line each, which is all that the rest of the package knows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.models.family import Family
from caloforge.showers import Domain

__all__ = ["MODELS", "WHERE", "count_weights", "describe", "serves"]

WHERE = {
    "copula": "caloforge.models.copula.family:COPULA",
    "mixer": "caloforge.models.mixer.family:MIXER",
    "3dgan": "caloforge.models.threedgan.family:FIXED_ANGLE",
    "3dgan-x16": "caloforge.models.threedgan.family:FIXED_ANGLE_X16",
    "3dgan-angle": "caloforge.models.threedgan.family:VARIABLE_ANGLE",
    "3dgan-angle-x16": "caloforge.models.threedgan.family:VARIABLE_ANGLE_X16",
}
"""Module and name of each family: a new model is one more folder and one more line."""


class _Families(Mapping[str, Family[Any]]):
    """The families by name, imported when they are asked for."""

    def __getitem__(self, name: str) -> Family[Any]:
        if name not in WHERE:
            raise KeyError(name)
        module, _, attribute = WHERE[name].partition(":")
        family: Family[Any] = getattr(import_module(module), attribute)
        return family

    def __iter__(self) -> Iterator[str]:
        return iter(WHERE)

    def __len__(self) -> int:
        return len(WHERE)


MODELS: Mapping[str, Family[Any]] = _Families()


def describe(grid: Grid) -> list[dict[str, str | int]]:
    """List every network with its parameters on a grid; a dash where the grid is too small."""
    return [
        {
            "name": name,
            "generator": _parameters(partial(family.build, grid, 0.0)),
            "critic": _parameters(partial(family.build_critic, grid)),
            "summary": family.summary,
        }
        for name, family in MODELS.items()
    ]


def serves(name: str, grid: Grid, domain: Domain) -> bool:
    """Say whether a model can make showers on a grid, for conditions of a domain."""
    return _parameters(partial(MODELS[name].build, grid, 0.0, domain=domain)) != "-"


def _parameters(build: Callable[[], nn.Module]) -> int | str:
    try:
        with torch.device("meta"):  # shapes alone: nothing is allocated or drawn
            return count_weights(build())
    except UsageError:
        return "-"


def count_weights(module: nn.Module) -> int:
    """Count weights as Keras does: parameters and the running statistics of normalisations."""
    return sum(
        tensor.numel()
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
