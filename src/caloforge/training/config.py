"""What a training run can be told: settings from files and texts, told apart by the model's name."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from caloforge.foundations.errors import UsageError
from caloforge.foundations.texts import read_text, shortened
from caloforge.foundations.yaml_model import did_you_mean, first_error, load_yaml
from caloforge.models.registry import MODELS
from caloforge.models.settings import TrainingConfig

__all__ = ["TrainingConfig", "load_config"]

DEFAULT_MODEL = "copula"
"""Where no showers are known: see :func:`caloforge.training.begin.usual_model`."""

EVERYBODYS: dict[str, Any] = {
    "precision": "fp32",
    **dict.fromkeys(("real_or_fake", "energy", "deposit", "angle", "penalty", "likelihood")),
    "label_flips": 0.05,
    "generator_steps": 2,
}
"""What runs of earlier versions wrote of settings that were not theirs, or not set."""


def load_config(
    path: Path | None = None,
    settings: Sequence[str] = (),
    *,
    base: Mapping[str, Any] | None = None,
    model: str | None = None,
    usual: Callable[[], str] = lambda: DEFAULT_MODEL,
) -> TrainingConfig:
    """Fill the settings from ``base``, then a YAML file, then ``a.b=c`` texts, then the model's name.

    What none of them says is as suits the model; where none names one, ``usual`` does.

    Raises UsageError naming the file or the setting, and what was expected.
    """
    data: dict[str, Any] = deepcopy({**_set_by_somebody(base or {}), **(_read(path) if path else {})})
    for setting in settings:
        _set(data, setting)
    if model is not None:
        data["model"] = model
    if "model" not in data:
        data["model"] = usual()
    name = data["model"]
    if name not in tuple(MODELS):
        raise UsageError(f"setting model: expected one of {', '.join(MODELS)}, got {name!r}")
    try:
        return _any_config(tuple(MODELS)).validate_python(data)
    except ValidationError as error:
        setting, complaint = _complaint(error, name)
        own = any(text.partition("=")[0] == setting for text in settings)
        where = f"{path}: " if path is not None and not own else ""
        raise UsageError(f"{where}setting {setting}: {complaint}") from None


def _set_by_somebody(base: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what no setting of a run of an earlier version has chosen, so that it can go on."""
    kept = {name: value for name, value in base.items() if EVERYBODYS.get(name, ...) != value}
    if isinstance(kept.get("objective"), dict):
        kept["objective"] = _set_by_somebody(kept["objective"])
    return {name: value for name, value in kept.items() if name != "objective" or value}


@lru_cache
def _any_config(names: tuple[str, ...]) -> TypeAdapter[TrainingConfig]:
    """Return the union of all families' settings, told apart by ``model``."""
    kinds = reduce(or_, dict.fromkeys(MODELS[name].settings for name in names))
    return TypeAdapter(Annotated[kinds, Field(discriminator="model")])  # type: ignore[arg-type]


def _read(path: Path) -> dict[str, Any]:
    loaded = load_yaml(read_text(path, "settings in YAML"), str(path))
    if not isinstance(loaded, dict | None):
        raise UsageError(f"{path}: expected a mapping of settings")
    return loaded or {}


def _set(data: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {setting}: expected name=value, such as batch_size=16")
    *parents, last = name.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise UsageError(f"--set {setting}: {parent} has no settings below it")
    data[last] = load_yaml(text, f"--set {shortened(setting, 100)}")


def _complaint(error: ValidationError, model: str) -> tuple[str, str]:
    """Return the first setting that is wrong, and what was expected of it."""
    first = first_error(error)
    _, *path = map(str, first["loc"])  # after the model's name
    if first["type"] != "extra_forbidden":
        return ".".join(path), f"{first['msg']}, got {reprlib.repr(first['input'])}"
    known = _names(model, path[:-1])
    if isinstance(first["input"], dict) and first["input"]:
        path.append(next(iter(first["input"])))  # as it was typed
    owners = [other for other in MODELS if path[-1] in _names(other, path[:-1])]
    whose = f", only {', '.join(owners)}" if owners else ""
    return ".".join(path), f"{model} has no such setting{whose}; {did_you_mean(path[-1], known)}"


def _names(model: str, parents: Sequence[str]) -> Sequence[str]:
    """List a model's settings below ``parents``."""
    kind: type[BaseModel] = MODELS[model].settings
    for parent in parents:
        field = kind.model_fields.get(parent)
        if field is None or not isinstance(field.default, BaseModel):
            return ()
        kind = type(field.default)
    return tuple(kind.model_fields)
