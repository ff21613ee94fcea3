from __future__ import annotations

from pathlib import Path

import pytest
import torch
from commands import Caloforge

from caloforge.bench import generate
from caloforge.bench.generate import Way, measure
from caloforge.foundations.errors import UsageError


def test_rows_are_chosen_by_their_words() -> None:
    way = Way("copula", "torch", 128, 2, 1)
    for only in [], ["copula"], ["3dgan", "batch 128, streams 2"]:
        assert generate.chosen(iter([way]), only) == [way]
    for only in ["batch 1"], ["copula, batch 1024"], ["cop"]:
        with pytest.raises(UsageError, match="--only: expected words of a row"):
            generate.chosen(iter([way]), only)
    with pytest.raises(UsageError, match="--only: expected words of a row"):
        measure(0.01, 1, only=["abacus"])


def test_every_batch_engine_and_number_of_streams_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    labels = [way.label for way in generate.ways((1, 2, 4))]
    assert len(labels) == len(set(labels))
    assert labels[0].startswith("Geant4")
    for words in (
        "copula, torch, batch 1, streams 1, threads 1",
        "copula, torch, batch 128, streams 1, threads 2",
        "copula, torch, batch 128, streams 4, threads 1",
        "3dgan, torch, batch 1024, streams 2, threads 1",
    ):
        assert words in labels


@pytest.mark.geant4
def test_networks_stand_beside_geant4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "TURN_S", 0.01)
    monkeypatch.setattr(generate, "BATCHES", (1, 8))
    seen: list[float] = []
    only = ["Geant4", "copula, torch, batch 8", "3dgan, torch, batch 1, threads 1"]
    rows = measure(0.5, 1, lambda done, total, **_: seen.append(done / total), only, (1, 2))
    by_way = {way: [row for row in rows if row["way"] == way] for way in ("Geant4", "copula", "3dgan")}
    assert sum(map(len, by_way.values())) == len(rows)
    (geant4,) = by_way["Geant4"]
    assert geant4["x_geant4"] == 1
    for row in by_way["copula"] + by_way["3dgan"]:
        ms = float(row["ms/shower"])
        assert 0 < ms < float(geant4["ms/shower"])
        cores = min(int(row["streams"]) * int(row["threads"]), torch.get_num_threads())
        ratio = float(geant4["ms/shower"]) / ms / cores
        assert float(row["x_geant4"]) == pytest.approx(ratio, rel=0.02)
        assert (float(row["file ms"]) > 0) if row["batch"] == 8 else row["file ms"] == ""
    assert seen[-1] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("generate --streams 1,x", "--streams: expected numbers from 1 to 1024"),
        ("generate --streams 0", "--streams: expected numbers from 1 to 1024"),
        ("loader --only copula", "--only: only bench generate takes it, got loader"),
    ],
)
def test_wrong_rows_are_one_line(
    caloforge: Caloforge, tmp_path: Path, arguments: str, words: str
) -> None:
    ran = caloforge("bench", *arguments.split())
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.count("\n") == 1
