"""Saved models: ``model.safetensors`` (weights) and ``model.json`` (everything else)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from caloforge.detector import Grid
from caloforge.files.shower_file import UNITS
from caloforge.files.tensors import load_into, load_tensors, require_shapes, save_tensors
from caloforge.foundations.durable import write_json
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.texts import fill, read_json
from caloforge.models.base import ShowerModel
from caloforge.models.family import Family
from caloforge.models.registry import MODELS
from caloforge.showers import ELECTRON, IN_Y_Z, MAX_INCIDENT_MEV, Domain

__all__ = [
    "WEIGHTS",
    "ModelCard",
    "describe",
    "has_model",
    "load_model",
    "read_card",
    "save_model",
    "write_lost_card",
]

FORMAT = "caloforge-model"
VERSION = 1
WEIGHTS, CARD = "model.safetensors", "model.json"


@dataclass(frozen=True)
class ModelCard:
    """What ``model.json`` says of a model.

    ``architecture`` holds the sizes of its :class:`~caloforge.models.family.Family`, the usual ones where
    it says none; ``energy_MeV``, ``theta_rad``, ``phi_rad``, ``impact_mm`` and ``pdg_ids`` are the conditions that it was
    trained on (:class:`~caloforge.showers.Domain`);
    ``training_data`` names files and their checksum; ``metrics`` are those of the chosen weights.
    """

    name: str
    grid: Grid
    threshold_MeV: float
    energy_MeV: tuple[float, float]
    theta_rad: tuple[float, float]
    phi_rad: tuple[float, float] = (IN_Y_Z, IN_Y_Z)
    impact_mm: tuple[tuple[float, float], tuple[float, float]] | None = None
    pdg_ids: tuple[int, ...] = (ELECTRON,)
    architecture: Mapping[str, int] = field(default_factory=dict)
    training_data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        """The conditions that the model was trained on."""
        return Domain(self.energy_MeV, self.theta_rad, self.phi_rad, self.impact_mm, self.pdg_ids)

    def build(self) -> ShowerModel:
        """Build the network with fresh weights. Raises UsageError for an unknown name, or size's name."""
        return self._family().build(self.grid, self.threshold_MeV, self.architecture, self.domain)

    def build_critic(self) -> nn.Module:
        """Build the critic that the network was trained against, likewise."""
        return self._family().build_critic(self.grid, self.architecture)

    def _family(self) -> Family[Any]:
        if self.name not in MODELS:
            raise UsageError(f"model {self.name!r}: expected one of {', '.join(MODELS)}")
        return MODELS[self.name]


def describe(model: ShowerModel, card: ModelCard) -> dict[str, Any]:
    """Return what ``model.json`` says."""
    return {
        "format": FORMAT,
        "version": VERSION,
        **asdict(card),
        "grid": card.grid.to_json(),
        "transform": model.transform.to_json(),
        "conditions": ["incident_energy", *sorted(model.follows)],
        "units": {name: UNITS[name] for name in ("showers", "incident_energy", *sorted(model.follows))},
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def save_model(folder: Path, model: ShowerModel, card: ModelCard) -> None:
    """Write both files: the weights carry the card and its checksum, ``model.json`` shows it to people."""
    described = describe(model, card)
    (folder / CARD).unlink(missing_ok=True)  # a kill must not leave one that belongs to other weights
    save_tensors(folder / WEIGHTS, model.state_dict(), described)
    write_json(folder / CARD, described)


def has_model(folder: Path) -> bool:
    """Say whether there is a saved model in a folder; a kill may have left it without ``model.json``."""
    return (folder / WEIGHTS).is_file()


def write_lost_card(folder: Path) -> None:
    """Write the ``model.json`` that a kill has taken, from what the weights carry."""
    if has_model(folder) and not (folder / CARD).exists():
        write_json(folder / CARD, load_tensors(folder / WEIGHTS)[1])


def read_card(folder: Path) -> ModelCard:
    """Read what is said of the model in a folder. Raises as :func:`load_model` does."""
    return _read(folder)[0]


def load_model(folder: Path) -> tuple[ShowerModel, ModelCard]:
    """Load a model for generation: checked weights, evaluation mode.

    Raises UsageError where there is none, CaloforgeError naming file and field where it is damaged, or
    ``model.json`` is not as it was saved.
    """
    card, tensors = _read(folder)
    model = card.build()
    load_into(model, tensors)
    model.eval().prepare()
    return model, card


def _read(folder: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read a card and the weights that fit it: of these alone, so that nothing large is built in vain."""
    if not has_model(folder):
        raise UsageError(f"{folder}: expected a run folder with {CARD} and {WEIGHTS}")
    path = folder / WEIGHTS
    tensors, note = load_tensors(path)
    _require_unchanged(folder / CARD, note)
    try:
        card = _card(note)
        if max(card.architecture.values(), default=0) > sum(map(Tensor.numel, tensors.values())):
            raise CaloforgeError(
                "field architecture: expected sizes of these weights, found larger ones"
            )
        with torch.device("meta"):  # shapes alone
            require_shapes(card.build(), tensors)
    except CaloforgeError as error:
        raise type(error)(f"{path}: {error}") from None
    return card, tensors


def _require_unchanged(path: Path, note: Mapping[str, Any]) -> None:
    """Raise CaloforgeError if ``model.json`` is there and says anything else than the weights carry."""
    if not path.exists():
        return
    said = read_json(path)
    for name in {**note, **said}:
        if said.get(name) != note.get(name):
            raise CaloforgeError(
                f"{path}: field {name}: changed or damaged, it is not what {WEIGHTS} carries "
                "(without this file the model is as it was saved)"
            )


def _card(note: Mapping[str, Any]) -> ModelCard:
    """Return the card that weights carry. Raises CaloforgeError naming the field that is missing or impossible."""
    if note.get("format") != FORMAT or note.get("version") != VERSION:
        raise CaloforgeError(f"field format: expected {FORMAT!r}, version {VERSION}")
    for part in fields(ModelCard):
        if part.default is MISSING and part.name not in ("architecture", *note):
            raise CaloforgeError(f"field {part.name} is missing")
    card = fill(ModelCard, {**note, "grid": Grid.from_json(note["grid"])}, "card")
    (low, high), (least, most) = card.energy_MeV, card.theta_rad
    if not 0 < low <= high <= MAX_INCIDENT_MEV:
        raise CaloforgeError(f"field energy_MeV: expected 0 < low <= high <= 1e9, got {low}, {high}")
    if not 0 < least <= most < math.pi:
        raise CaloforgeError(f"field theta_rad: expected 0 < low <= high < pi, got {least}, {most}")
    if not 0 <= card.threshold_MeV < high:
        limit = "expected a number >= 0, below the incident energies"
        raise CaloforgeError(f"field threshold_MeV: {limit}, got {card.threshold_MeV}")
    return card
