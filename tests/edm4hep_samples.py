"""Events as EDM4hep files hold them, made up: no library here writes such files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ENCODING = "system:0:5,module:5:3,stave:8:4,tower:12:4,layer:16:6,wafer:22:6,slice:28:4,cellX:32:-16,cellY:48:-16"


def public_file(name: str) -> Path:
    """Return a file that others published, from the folder that CALOFORGE_PUBLIC_FILES names; skip where it is not there."""
    path = Path(os.environ.get("CALOFORGE_PUBLIC_FILES", "")) / name
    if not path.is_file():
        pytest.skip(f"CALOFORGE_PUBLIC_FILES names no folder with {name}")
    return path


@dataclass
class Events:
    """Stands in for :class:`caloforge.files.root.EventFile`: columns of collections, one list an event."""

    members: dict[str, dict[str, list[NDArray[Any]]]]
    count: int
    texts: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: Path) -> Events:
        return self

    def collections(self, kind: str) -> list[str]:
        return [name for name in self.members if name != "MCParticles"]

    def columns(
        self, collection: str, fields: Sequence[str], start: int, stop: int
    ) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
        found = [self.members[collection][name][start:stop] for name in fields]
        counts = np.array([len(values) for values in found[0]], np.int64)
        return counts, [np.concatenate([*column, column[0][:0]]) for column in found]

    def parameter(self, name: str) -> str | None:
        return self.texts.get(name)

    def close(self) -> None:
        pass


def primary(
    pdg: int, mass: float, vertex: NDArray[Any], momentum: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Return MCParticles (GeV, mm) of one event: the primary, and an electron that Geant4 made."""
    columns: dict[str, NDArray[Any]] = {
        "generatorStatus": np.array([1, 0], np.int32),
        "PDG": np.array([pdg, 11], np.int32),
        "mass": np.array([mass, 0.000511]),
    }
    for axis, x, p in zip("xyz", vertex, momentum, strict=True):
        columns |= {f"vertex.{axis}": np.array([x, 7.0]), f"momentum.{axis}": np.array([p, 0.001])}
    return columns


def hits(layer: NDArray[Any], energy: NDArray[Any], place_mm: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return SimCalorimeterHits (GeV, mm) of one event; other fields of cellID are filled, signed ones with negatives."""
    cell = (
        layer.astype(np.uint64) << np.uint64(16)
        | np.uint64(0b10101)
        | np.uint64(0xFFFE) << np.uint64(32)
    )
    columns = {"cellID": cell, "energy": energy.astype(np.float32)}
    return columns | {
        f"position.{axis}": x.astype(np.float32) for axis, x in zip("xyz", place_mm.T, strict=True)
    }


def events_of(primaries: Sequence[dict[str, Any]], **collections: Sequence[dict[str, Any]]) -> Events:
    """Put events together, with the encoding of every collection."""
    members = {
        name: {key: [event[key] for event in events] for key in events[0]}
        for name, events in {"MCParticles": primaries, **collections}.items()
    }
    texts = {f"{name}__CellIDEncoding": ENCODING for name in collections}
    return Events(members, len(primaries), texts)


def put_events(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a photon in the place of the public event of ILD: a command that opens ``path`` reads it."""
    layer = np.repeat([0, 1, 2, 3], 4)
    corner = np.tile([[0, 0], [0, 5.0883], [5.0883, 0], [5.0883, 5.0883]], (4, 1))
    place = np.column_stack([corner[:, 0], 1810 + 6.235 * layer, corner[:, 1]])
    events = [hits(layer, np.full(16, 0.01), place)]
    photon = primary(22, 0.0, np.array([0.0, 1804.7, 0]), np.array([0.0, 40, 0]))
    made = events_of([photon], ECalBarrelSiHitsEven=events, ECalBarrelSiHitsOdd=events)
    path.write_bytes(b"root")
    monkeypatch.setattr("caloforge.files.layouts.edm4hep.EventFile", made)
