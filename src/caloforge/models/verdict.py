"""What comparisons with Geant4 found of a model: ``verdict.json`` beside its weights.

``caloforge validate --card`` writes it, one entry for each reference, and ``caloforge generate`` reads it: who asks for
energies where the model failed is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caloforge.foundations.durable import sealed, sha256, unsealed, write_json
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.texts import read_json
from caloforge.models.saved import WEIGHTS, read_card

__all__ = ["add_verdict", "failures"]

VERDICT = "verdict.json"
FORMAT, VERSION = "caloforge-verdict", 1

TOLD = 4
"""So many failures are told in a warning."""


def add_verdict(folder: Path, reference: str, metrics: Mapping[str, Any]) -> None:
    """Keep what a comparison found; an earlier one with a reference of the same name is replaced.

    ``metrics`` are those of ``metrics.json``. Verdicts of other weights than the folder's go. Raises as
    :func:`~caloforge.models.saved.read_card` does.
    """
    read_card(folder)
    others = [entry for entry in _read(folder) if entry["reference"] != reference]
    comparison = {"reference": reference, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    comparison |= {name: metrics[name] for name in ("n_reference", "n_candidate", "requirements")}
    write_json(
        folder / VERDICT,
        sealed(
            {
                "format": FORMAT,
                "version": VERSION,
                "weights": sha256(folder / WEIGHTS),
                "comparisons": [*others, comparison],
            }
        ),
    )


def failures(folder: Path, energy_MeV: tuple[float, float]) -> str | None:
    """Say which requirements the model in a folder failed at these incident energies (MeV), and where.

    None if it failed none, or was never judged. Raises CaloforgeError where ``verdict.json`` is damaged.
    """
    found: dict[str, list[str]] = {}
    for comparison in _read(folder):
        for requirement in comparison["requirements"]:
            for where in _where(requirement, [energy / 1000 for energy in energy_MeV]):
                found.setdefault(requirement["name"], []).append(where)
    if not found:
        return None
    told = [f"{name} ({places[0]})" for name, places in list(found.items())[:TOLD]]
    more = f" and {len(found) - TOLD} more" if len(found) > TOLD else ""
    return f"against Geant4 this model failed: {', '.join(told)}{more}"


def _where(requirement: Mapping[str, Any], energy_GeV: Sequence[float]) -> Iterator[str]:
    """List where a requirement failed, of the places that overlap some energies."""
    for check in requirement["failed"]:
        low, high = check["energy_range_GeV"] or (0.0, float("inf"))
        if low < energy_GeV[1] and energy_GeV[0] < high:
            yield check["where"]


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / VERDICT
    if not path.is_file():
        return []
    data = unsealed(read_json(path), str(path))
    if data.get("format") != FORMAT or data.get("version") != VERSION:
        raise CaloforgeError(f"{path}: field format: expected {FORMAT} of version {VERSION}")
    # Weights that were trained further have still to be judged.
    same = data.get("weights") == sha256(folder / WEIGHTS)
    comparisons: list[dict[str, Any]] = data["comparisons"] if same else []
    return comparisons
