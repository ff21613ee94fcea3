"""What a training can be told: the settings that every model has; each family adds its own and its usual values."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from caloforge.foundations.randomness import MAX_SEED

__all__ = ["Count", "Fraction", "Positive", "Sizes", "Strict", "TrainingConfig", "Weight"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class Strict(BaseModel):
    """A group of settings that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sizes(Strict):
    """Sizes of a family's networks by name; whole numbers, without which nothing can be built again.

    Larger networks take over the weights of smaller ones, except for sizes that are ``fixed``; some grow by whole
    ``multiples`` alone.
    """

    fixed: ClassVar[frozenset[str]] = frozenset()
    multiples: ClassVar[frozenset[str]] = frozenset()


class TrainingConfig(Strict):
    """Settings of ``caloforge train``; energies are in GeV, as on the command line.

    A family's own class gives ``model`` the names it answers to (a ``Literal``, by which the configuration
    is told apart), ``architecture`` its sizes, and other defaults where they suit it better.
    """

    model: str = Field(
        description="a name from `caloforge models`; if none is given, the usual one for the showers' angles"
    )
    architecture: Sizes = Field(
        default=Sizes(), description="sizes of the networks by name, such as `factors` of copula"
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
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(
        1, description="all randomness derives from it"
    )
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
    gradient_compression: Literal["none", "bf16"] = Field("none", description="between workers")
    checkpoint_every_steps: Count = Field(200, description="steps between two checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=2)] = Field(3, description="older ones are removed")
    tensorboard: bool = Field(False, description="also write TensorBoard events (extra: tensorboard)")
