"""What a training run can be told, with defaults that work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from caloforge.foundations.errors import UsageError
from caloforge.models.registry import MODELS

__all__ = ["ObjectiveConfig", "TrainingConfig", "load_config"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectiveConfig(_Strict):
    """Weights of the adversarial losses; None takes the value that suits the model."""

    real_or_fake: Weight | None = Field(None, description="weight of the binary cross-entropy")
    energy: Weight | None = Field(None, description="weight of the primary energy's MAPE")
    deposit: Weight | None = Field(None, description="weight of the total deposit's MAPE")
    angle: Weight | None = Field(None, description="weight of the measured angle's MAE (rad)")
    label_flips: Fraction = Field(0.05, description="fraction of the critic's labels that are flipped")
    generator_steps: Count = Field(2, description="generator steps per batch of real showers")
    penalty: Weight | None = Field(
        None, description="mixer-gan: half of it weighs the critic's squared slopes"
    )
    likelihood: Weight | None = Field(
        None, description="mixer-gan: weight of the cells' likelihood (nats)"
    )


class TrainingConfig(_Strict):
    """Settings of ``caloforge train``; energies are in GeV, as on the command line."""

    model: str = Field("3dgan", description="a name from `caloforge models`")
    architecture: dict[str, Count] = Field(
        default_factory=dict, description="sizes of the networks by name, such as `factors` of copula"
    )
    epochs: Count = Field(25, description="passes over the training showers")
    max_steps: Count | None = Field(None, description="stop after so many steps in all")
    minutes: Positive | None = Field(None, description="stop this call after so many minutes")
    batch_size: Count = Field(16, description="real showers a step and worker")
    learning_rate: Positive = Field(1e-3, description="for every network, of one worker")
    warmup_epochs: Weight = Field(5, description="until the learning rate is that of all workers")
    schedule: Literal["constant", "plateau", "step", "cosine"] = Field(
        "constant", description="of learning rates"
    )
    decay_factor: Fraction = Field(0.1, description="of the learning rate in a plateau or step")
    decay_epochs: Count = Field(10, description="epochs a step, or without a better check, a plateau")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="all randomness derives from it")
    energy: str | None = Field(None, description="train on these incident energies only, a:b in GeV")
    threshold_MeV: Weight | None = Field(
        None, description="read-out threshold; None: the file's, or 0.001 where it states none"
    )
    augment: tuple[str, ...] | Literal["all"] = Field(
        (), description="symmetries of the detector: mirror-x, ...; all: those that the showers have"
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=0.9)] = Field(
        0.1, description="part of the showers that is never trained on and picks the best epoch"
    )
    check_showers: Count = Field(200, description="showers generated for each epoch's physics check")
    choose: Literal["best", "last"] = Field(
        "best", description="which epoch's averaged weights become the model, by the physics check"
    )
    ema_decay: Fraction = Field(0.995, description="of the generator's averaged weights")
    device: Literal["cpu", "cuda"] = Field("cpu", description="cuda: one GPU for each worker of a node")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of convolutions and products")
    gradient_compression: Literal["none", "bf16"] = Field("none", description="between workers")
    checkpoint_every_steps: Count = Field(200, description="steps between two checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(3, description="older ones are removed")
    tensorboard: bool = Field(False, description="also write TensorBoard events (extra: tensorboard)")
    objective: ObjectiveConfig = Field(default_factory=lambda: ObjectiveConfig())


def load_config(
    path: Path | None = None,
    settings: Sequence[str] = (),
    *,
    base: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> TrainingConfig:
    """Fill the settings from ``base``, then a YAML file, then ``a.b=c`` texts, then the model's name.

    What none of them says is as suits the model.

    Raises UsageError naming the file or the setting, and what was expected.
    """
    data: dict[str, Any] = dict(base or {})
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark is not None else ""
            raise UsageError(f"{path}{where}: not YAML") from None
        if not isinstance(loaded, dict | None):
            raise UsageError(f"{path}: expected a mapping of settings")
        data |= loaded or {}
    for setting in settings:
        _set(data, setting)
    if model is not None:
        data["model"] = model
    family = MODELS.get(str(data.get("model", TrainingConfig.model_fields["model"].default)))
    try:
        config = TrainingConfig.model_validate({**(family.settings if family else {}), **data})
        if family is not None:
            family.architecture(config.architecture)
    except UsageError as error:
        raise UsageError(f"setting {error}, the sizes that {config.model} has") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        where = f"{path}: " if path is not None and not _among(name, settings) else ""
        known = ""
        if first["type"] == "extra_forbidden":
            known = f"; the settings are {', '.join(TrainingConfig.model_fields)}"
        raise UsageError(
            f"{where}setting {name}: {first['msg']}, got {first['input']!r}{known}"
        ) from None
    return config


def _set(data: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {setting}: expected name=value, such as batch_size=16")
    *parents, last = name.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise UsageError(f"--set {setting}: {parent} has no settings below it")
    try:
        data[last] = _scalar(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {setting}: the value is not YAML") from None


def _scalar(text: str) -> Any:
    # YAML 1.1 reads 1e-3 as a text and 100:200 as a number to base 60.
    try:
        return float(text) if not text.lstrip("+-").isdigit() else int(text)
    except ValueError:
        return text if ":" in text else yaml.safe_load(text)


def _among(name: str, settings: Sequence[str]) -> bool:
    return any(setting.partition("=")[0] == name for setting in settings)
