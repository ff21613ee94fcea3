"""What may be chosen: for each model the settings of its training and architecture, with their ranges.

A choice is a flat mapping of values by name, ``model`` first, then ``<model>.<setting>`` for that model's settings
alone. Seen by a method every setting lies between 0 and 1, evenly as it is to be drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from caloforge.foundations.errors import UsageError
from caloforge.foundations.texts import read_text
from caloforge.foundations.yaml_model import parse_yaml
from caloforge.models.registry import MODELS
from caloforge.training.config import load_config

__all__ = ["MODEL", "Choice", "Parameter", "Space", "Value", "load_space", "parse_space"]

Value = int | float | str
Choice = dict[str, Value]
"""Values by name."""

MODEL = "model"

BUDGET = ("epochs", "max_steps", "minutes")
STUDY = ("seed", "energy", "validation_fraction", "check_showers", "device", "threshold_MeV")


def _scalar(text: Any) -> Any:
    """Read a number where there is one: the file's scalars are texts."""
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text


Scalar = Annotated[Value, BeforeValidator(_scalar)]


class Parameter(BaseModel):
    """A range, ``low`` to ``high``, even in the logarithm with ``log``, of whole numbers with ``int``; or choices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float = Field(math.nan, allow_inf_nan=False)
    high: float = Field(math.nan, allow_inf_nan=False)
    log: bool = False
    whole: bool = Field(False, alias="int")
    choices: tuple[Scalar, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Parameter:
        if self.choices:
            if self.model_fields_set & {"low", "high"} or self.log or self.whole:
                raise ValueError("expected choices or a range, got both")
            if len(set(self.choices)) < len(self.choices):
                raise ValueError("expected different choices")
        elif not self.low < self.high:
            raise ValueError("expected choices, or low and high with low < high")
        elif self.log and self.low <= 0:
            raise ValueError("expected low > 0 with log")
        elif self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("expected whole numbers for low and high with int")
        return self

    def at(self, place: float) -> Value:
        """Return the value at a place from 0 to 1; before and beyond, the one at that end."""
        place = min(max(place, 0.0), 1.0)
        if self.choices:
            return self.choices[min(int(place * len(self.choices)), len(self.choices) - 1)]
        first, last = self._span
        value = first + place * (last - first)
        return self._allowed(math.exp(value) if self.log else value)

    def place(self, value: Value) -> float:
        """Return the place of a value, from 0 to 1; of one beyond the range, its end; of no choice, the nearest."""
        if self.choices:
            return (self.choices.index(self.nearest(value)) + 0.5) / len(self.choices)
        first, last = self._span
        return (self._scaled(self._allowed(float(value))) - first) / (last - first)

    def nearest(self, value: Value) -> Value:
        """Return the value itself if it is allowed, else the nearest one; the first where nothing is near."""
        if not self.choices:
            return self._allowed(float(value))
        if value in self.choices or isinstance(value, str):
            return value if value in self.choices else self.choices[0]
        numbers = [choice for choice in self.choices if not isinstance(choice, str)]
        return min(numbers, key=lambda choice: abs(choice - value), default=self.choices[0])

    def ends(self) -> Sequence[Value]:
        """Return the values that bound all others: the range's ends, or the choices."""
        return self.choices or [self.at(0.0), self.at(1.0)]

    def _allowed(self, value: float) -> int | float:
        """Return the nearest value of the range."""
        inside = min(max(round(value) if self.whole else value, self.low), self.high)
        return int(inside) if self.whole else inside

    @property
    def _span(self) -> tuple[float, float]:
        """The range's ends as they are drawn: a whole number has as much room as any other."""
        margin = 0.5 if self.whole else 0.0
        return self._scaled(self.low - margin), self._scaled(self.high + margin)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


class SpaceFile(BaseModel):
    """The YAML file: by model, settings with what they may be, or with the one value that all trials have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, dict[str, Parameter | Scalar]] = Field(min_length=1)


@dataclass(frozen=True)
class Space:
    """The models to choose from, the parameters of each by setting, and settings that never change.

    ``text`` is the file that says so.
    """

    parameters: Mapping[str, Mapping[str, Parameter]]
    fixed: Mapping[str, Mapping[str, Value]]
    text: str

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self.parameters)

    def of(self, choice: Choice) -> Iterator[tuple[str, Parameter]]:
        """Return the names of the settings that a choice's model has, with their parameters."""
        model = str(choice[MODEL])
        for setting, parameter in self.parameters[model].items():
            yield f"{model}.{setting}", parameter

    def usual(self, model: str) -> Choice:
        """Return a model as it is trained where nobody says otherwise, as far as the space allows."""
        known = load_config(model=model).model_dump(mode="json")
        choice: Choice = {MODEL: model}
        for name, parameter in self.of(choice):
            value: Any = known
            for part in name.partition(".")[2].split("."):
                value = value[part]
            choice[name] = parameter.nearest(parameter.at(0.5) if value is None else value)
        return choice

    def drawn(self, rng: np.random.Generator) -> Choice:
        """Draw a choice at random."""
        choice: Choice = {MODEL: self.models[rng.integers(len(self.models))]}
        for name, parameter in self.of(choice):
            choice[name] = parameter.at(float(rng.random()))
        return choice

    def allowed(self, choice: Choice) -> Choice:
        """Return the nearest choice of this space to one of another. Raises UsageError for an unknown model."""
        model = str(choice[MODEL])
        if model not in self.parameters:
            raise UsageError(f"model {model}: expected one of {', '.join(self.models)}")
        usual = self.usual(model)
        nearest: Choice = {MODEL: model}
        for name, parameter in self.of(nearest):
            nearest[name] = parameter.nearest(choice.get(name, usual[name]))
        return nearest

    def settings(self, choice: Choice) -> dict[str, Any]:
        """Return the settings of a training as :func:`~caloforge.training.config.load_config` takes them."""
        model = str(choice[MODEL])
        named = {name.partition(".")[2]: value for name, value in choice.items() if name != MODEL}
        nested: dict[str, Any] = {MODEL: model}
        for name, value in {**self.fixed[model], **named}.items():
            *parents, last = name.split(".")
            inner = nested
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = value
        return nested


def load_space(path: Path | None = None) -> Space:
    """Read a search space; the package's own if no file is given.

    Raises UsageError naming the file, the setting and what was expected.
    """
    if path is None:
        text, source = (resources.files(__package__) / "space.yaml").read_text("utf-8"), "space.yaml"
    else:
        text, source = read_text(path, "a search space in YAML"), str(path)
    return parse_space(text, source)


def parse_space(text: str, source: str) -> Space:
    """Read a search space from YAML; ``source`` is how errors name it."""
    models = parse_yaml(SpaceFile, text, source).models
    for model in models:
        if model not in MODELS:
            raise UsageError(f"{source}: model {model}: expected one of {', '.join(MODELS)}")
    space = Space(
        {m: {k: p for k, p in own.items() if isinstance(p, Parameter)} for m, own in models.items()},
        {m: {k: p for k, p in own.items() if not isinstance(p, Parameter)} for m, own in models.items()},
        text,
    )
    for model, own in models.items():
        for name in own:
            if name in (*BUDGET, *STUDY, MODEL):
                whose = "the budget's" if name in BUDGET else "the same for all trials"
                raise UsageError(f"{source}: model {model}: {name} is {whose}, expected other settings")
        _check(space, model, source)
    return space


def _check(space: Space, model: str, source: str) -> None:
    """Try the ends of every range."""
    try:
        load_config(base=space.settings({MODEL: model}))
        for setting, parameter in space.parameters[model].items():
            for value in parameter.ends():
                load_config(base=space.settings({MODEL: model, f"{model}.{setting}": value}))
    except UsageError as error:
        raise UsageError(f"{source}: model {model}: {error}") from None
