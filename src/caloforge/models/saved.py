"""Saved models: ``model.safetensors`` (weights) and ``model.json`` (everything else)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from caloforge.detector import Grid
from caloforge.files.tensors import load_into, load_tensors, save_tensors
from caloforge.foundations.durable import write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.models.base import ShowerModel
from caloforge.models.family import Family
from caloforge.models.registry import MODELS

__all__ = ["ModelCard", "load_model", "read_card", "save_model"]

FORMAT = "caloforge-model"
VERSION = 1


@dataclass(frozen=True)
class ModelCard:
    """What ``model.json`` says of a model.

    ``architecture`` holds the sizes of its :class:`~caloforge.models.family.Family`, the usual ones where
    it says none; ``energy_MeV`` and ``theta_rad`` are the (low, high) of the conditions it was trained on;
    ``training_data`` names files and their checksum; ``metrics`` are those of the chosen weights.
    """

    name: str
    grid: Grid
    threshold_MeV: float
    energy_MeV: tuple[float, float]
    theta_rad: tuple[float, float]
    architecture: Mapping[str, int] = field(default_factory=dict)
    training_data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> ShowerModel:
        """Build the network with fresh weights. Raises UsageError for an unknown name, or size's name."""
        return self._family().build(self.grid, self.threshold_MeV, self.architecture)

    def build_critic(self) -> nn.Module:
        """Build the critic that the network was trained against, likewise."""
        return self._family().build_critic(self.grid, self.architecture)

    def _family(self) -> Family[Any]:
        if self.name not in MODELS:
            raise UsageError(f"model {self.name!r}: expected one of {', '.join(MODELS)}")
        return MODELS[self.name]


def save_model(folder: Path, model: ShowerModel, card: ModelCard) -> None:
    """Write both files. The weights carry the card too, so that neither can be mixed up."""
    described = {
        "format": FORMAT,
        "version": VERSION,
        **asdict(card),
        "grid": card.grid.to_json(),
        "transform": model.transform.to_json(),
        "conditions": ["incident_energy", *(["incident_theta"] if model.conditioned_on_angle else [])],
        "units": {"showers": "MeV", "incident_energy": "MeV", "incident_theta": "rad"},
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    save_tensors(folder / "model.safetensors", model.state_dict(), described)
    write_json(folder / "model.json", described)


def read_card(folder: Path) -> ModelCard:
    """Read ``model.json`` of a run folder. Raises UsageError or CaloforgeError naming file and field."""
    path = folder / "model.json"
    if not path.is_file():
        raise UsageError(f"{folder}: expected a run folder with model.json and model.safetensors")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaloforgeError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise CaloforgeError(f"{path}: expected JSON") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        raise CaloforgeError(f"{path}: field format: expected {FORMAT!r}, version {VERSION}")
    try:
        return ModelCard(
            name=str(data["name"]),
            grid=Grid.from_json(data["grid"]),
            threshold_MeV=float(data["threshold_MeV"]),
            energy_MeV=(float(data["energy_MeV"][0]), float(data["energy_MeV"][1])),
            theta_rad=(float(data["theta_rad"][0]), float(data["theta_rad"][1])),
            architecture={name: int(n) for name, n in data.get("architecture", {}).items()},
            training_data=dict(data["training_data"]),
            metrics=dict(data["metrics"]),
            provenance=dict(data["provenance"]),
        )
    except KeyError as error:
        raise CaloforgeError(f"{path}: field {error.args[0]} is missing") from None
    except (AttributeError, TypeError, ValueError, IndexError):
        raise CaloforgeError(
            f"{path}: expected numbers for threshold_MeV, energy_MeV, theta_rad, and in architecture"
        ) from None
    except CaloforgeError as error:
        raise CaloforgeError(f"{path}: field grid: {error}") from None


def load_model(folder: Path) -> tuple[ShowerModel, ModelCard]:
    """Load a model for generation: checked weights, evaluation mode."""
    card = read_card(folder)
    try:
        model = card.build()
    except UsageError as error:
        raise type(error)(f"{folder / 'model.json'}: {error}") from None
    path = folder / "model.safetensors"
    tensors, _ = load_tensors(path)
    try:
        load_into(model, tensors)
    except CaloforgeError as error:
        raise CaloforgeError(f"{path}: {error}") from None
    model.eval().prepare()
    return model, card
