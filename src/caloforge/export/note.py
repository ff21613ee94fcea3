"""What an exported file says of itself: texts by name, numbers separated by spaces, so that any program can read them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from torch import Tensor

from caloforge.export.forms import GOLDEN_KEY, Form
from caloforge.export.golden import WITHIN, Golden
from caloforge.files.tensors import digest
from caloforge.models.saved import ModelCard, describe

__all__ = ["FORMAT", "note_of"]

FORMAT = "caloforge-export"


def note_of(target: str, form: Form, card: ModelCard, golden: Golden, command: str) -> dict[str, str]:
    """Return the note.

    ``card`` is what ``model.json`` says, ``detector`` the read-out as in a shower file, ``valid_range`` the conditions of the
    training (MeV, rad, mm), ``weights_sha256`` the checksum of the weights. ``golden_*`` is what a reader may check itself by: a row of
    each input is standard normal numbers of Philox with the key ``golden_key``, then the numbers of ``golden_INPUT``.
    """
    return {
        "format": FORMAT,
        "version": "1",
        "target": target,
        "program": f"caloforge {version('caloforge')}",
        "command": command,
        "card": json.dumps(describe(form.model, card), allow_nan=False),
        "detector": json.dumps(card.grid.to_json(), allow_nan=False),
        "valid_range": json.dumps(asdict(card.domain), allow_nan=False),
        "threshold_MeV": repr(card.threshold_MeV),
        "weights_sha256": digest(form.model.state_dict(), ""),
        "golden_key": str(GOLDEN_KEY),
        **{f"golden_{name}": numbers(rows) for name, rows in form.told(golden.inputs).items()},
        "golden_deposit_MeV": numbers(golden.energy_MeV),
        "golden_hits": numbers(golden.hits),
        "golden_within": repr(WITHIN),
    }


def numbers(values: Tensor | Iterable[Any]) -> str:
    """Write numbers, those of a shower after another, so that reading gives the same float32."""
    flat = values.flatten().tolist() if isinstance(values, Tensor) else list(values)
    return " ".join(f"{value:.9g}" for value in flat)
