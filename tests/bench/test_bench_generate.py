from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from commands import Caloforge

from caloforge.bench import Row, generate
from caloforge.bench.generate import Way, measure
from caloforge.bench.roofline import Cost, copy_bytes_per_s, matmul_flop_per_s
from caloforge.foundations.errors import UsageError


def cost(name: str) -> Cost:
    return generate._cost(name, generate._generator(name))


def test_the_published_network_costs_half_a_gflop() -> None:
    counted = cost("3dgan")
    assert counted.flop == pytest.approx(0.51e9, rel=0.02)
    # About 0.87 M weights in single precision; 200 numbers of noise and the image.
    assert counted.weight_bytes == pytest.approx(4 * 0.873e6, rel=0.01)
    assert counted.shower_bytes == 4 * (200 + 25**3)


def test_a_copula_reads_its_constants_and_multiplies_them() -> None:
    generator = generate._generator("copula")
    counted = generate._cost("copula", generator)
    numbers = sum(t.numel() for t in vars(generator.model._prepared).values() if torch.is_tensor(t))
    assert counted.weight_bytes == pytest.approx(4 * numbers, rel=0.05)
    # A score and three laws a cell: one product each with at least 14 monomials, and 64 factors.
    assert counted.flop > 2 * 25**3 * (64 + 4 * 14)
    assert counted.bytes(128) < counted.bytes(1)


def test_the_floor_is_arithmetic_or_memory() -> None:
    counted = Cost(flop=100.0, weight_bytes=1000.0, shower_bytes=10.0)
    assert counted.floor_s(1, 1.0, 1000.0) == 100.0
    assert counted.floor_s(1, 1000.0, 10.0) == 101.0
    assert counted.floor_s(100, 1000.0, 10.0) == 2.0
    assert 1e8 < copy_bytes_per_s(1 << 16) < 1e13
    assert 1e8 < matmul_flop_per_s(128) < 1e15


def test_rows_are_chosen_by_their_words() -> None:
    way = Way("copula", "torch", 128, 2, 1)
    for only in [], ["copula"], ["3dgan", "batch 128, streams 2"]:
        assert generate._chosen(way, only)
    for only in ["batch 1"], ["copula, batch 1024"], ["cop"]:
        assert not generate._chosen(way, only)
    with pytest.raises(UsageError, match="--only: expected words of a row"):
        measure(0.01, 1, only=["abacus"])


def test_every_batch_engine_and_number_of_streams_has_its_row() -> None:
    labels = [way.label for way in generate._ways(2, (1, 2, 4))]
    assert len(labels) == len(set(labels))
    assert labels[0].startswith("Geant4")
    for words in (
        "copula, torch, batch 1, streams 1, threads 1",
        "copula, torch, batch 128, streams 1, threads 2",
        "copula, torch, batch 128, streams 4, threads 1",
        "3dgan, torch, batch 1024, streams 2, threads 1",
        "3dgan, Keras, batch 1024, streams 1, threads 2",
    ):
        assert words in labels


@pytest.mark.geant4
def test_networks_stand_beside_geant4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "TURN_S", 0.01)
    monkeypatch.setattr(generate, "BATCHES", (1, 8))
    monkeypatch.setattr(generate, "matmul_flop_per_s", lambda: 2e9)
    monkeypatch.setattr(generate, "copy_bytes_per_s", lambda: 1e9)
    seen: list[float] = []
    only = ["Geant4", "copula, torch, batch 8", "3dgan, torch, batch 1, threads 1"]
    rows = measure(0.5, 1, lambda done, total, **_: seen.append(done / total), only, (1, 2))
    by_way = {
        way: [row for row in rows if row["way"] == way]
        for way in ("machine", "Geant4", "copula", "3dgan")
    }
    assert sum(map(len, by_way.values())) == len(rows)
    (geant4,) = by_way["Geant4"]
    assert geant4["x_geant4"] == 1
    for row in by_way["copula"] + by_way["3dgan"]:
        ms = float(row["ms/shower"])
        assert 0 < ms < float(geant4["ms/shower"])
        cores = min(int(row["streams"]) * int(row["threads"]), torch.get_num_threads())
        ratio = float(geant4["ms/shower"]) / ms / cores
        assert float(row["x_geant4"]) == pytest.approx(ratio, rel=0.02)
        assert float(row["x_floor"]) == pytest.approx(ms / float(row["floor ms"]), rel=0.02, abs=0.01)
        assert (float(row["file ms"]) > 0) if row["batch"] == 8 else row["file ms"] == ""
    assert float(by_way["3dgan"][0]["floor ms"]) == pytest.approx(1e3 * 0.511 / 2, rel=0.01)
    assert seen[-1] == 1
    assert set(generate.SHOWN) <= rows[0].keys()


@pytest.mark.process
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_keras_makes_the_same_number_of_showers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BATCHES", (2,))
    only = ["3dgan, Keras, threads 1", "3dgan, torch, streams 1, threads 1"]
    rows: list[Row] = [row for row in measure(0.01, 1, only=only) if row["way"] == "3dgan"]
    keras, ours = rows
    assert str(keras["engine"]).startswith("Keras 3")
    assert keras["x_keras"] == 1
    ratio = float(keras["ms/shower"]) / float(ours["ms/shower"])
    assert float(ours["x_keras"]) == pytest.approx(ratio, rel=0.05, abs=0.1)


def test_without_keras_its_rows_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "find_spec", lambda name: None)
    monkeypatch.setattr(generate, "BATCHES", (1,))
    monkeypatch.setattr(generate, "TURN_S", 0.01)
    rows = measure(0.01, 1, only=["3dgan, torch, batch 1, threads 1", "3dgan, Keras"], streams=(1,))
    assert not [row for row in rows if "Keras" in str(row["engine"])]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("generate --streams 1,x", "--streams: expected numbers from 1 to 1024"),
        ("generate --streams 0", "--streams: expected numbers from 1 to 1024"),
        ("loader --only copula", "bench loader has no such rows"),
    ],
)
def test_wrong_rows_are_one_line(
    caloforge: Caloforge, tmp_path: Path, arguments: str, words: str
) -> None:
    ran = caloforge("bench", *arguments.split())
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.count("\n") == 1
