"""Beside Keras and the machine's best: all take the same turns, and costs are those of the published layers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from commands import Caloforge
from torch import nn

from caloforge.bench import Row
from caloforge.bench import generate as bench
from caloforge.bench import train as bench_train
from caloforge.foundations.errors import CaloforgeError
from caloforge.models.threedgan.fixed_angle import Discriminator3DGAN
from caloforge.models.threedgan.layers import Dropout
from studies.speed import generate, keras_baseline, train
from studies.speed.as_written import as_written, iteration_flops
from studies.speed.roofline import Cost, copy_bytes_per_s, matmul_flop_per_s

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="keras is not installed"
)


def test_the_published_network_costs_half_a_gflop() -> None:
    counted = generate.cost_of("3dgan", bench.generator("3dgan"))
    assert counted.flop == pytest.approx(0.51e9, rel=0.02)
    # About 0.87 M weights in single precision; 200 numbers of noise and the image.
    assert counted.weight_bytes == pytest.approx(4 * 0.873e6, rel=0.01)
    assert counted.shower_bytes == 4 * (200 + 25**3)


def test_a_copula_reads_its_constants_and_multiplies_them() -> None:
    generator = bench.generator("copula")
    counted = generate.cost_of("copula", generator)
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


def test_keras_has_its_rows_among_those_of_the_bench() -> None:
    labels = [way.label for way in generate.all_ways((1, 2, 4))]
    assert len(labels) == len(set(labels))
    assert labels[0].startswith("Geant4")
    assert {way.label for way in bench.ways((1, 2, 4))} < set(labels)
    assert f"3dgan, Keras, batch 1024, streams 1, threads {torch.get_num_threads()}" in labels


@pytest.mark.long
def test_networks_stand_beside_their_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TURN_S", 0.01)
    monkeypatch.setattr(generate, "matmul_flop_per_s", lambda: 2e9)
    monkeypatch.setattr(generate, "copy_bytes_per_s", lambda: 1e9)
    only = ["copula, torch, batch 128, streams 1, threads 1", "3dgan, torch, batch 1, threads 1"]
    rows = generate.measure(0.01, 1, only=only, streams=(1,))
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    best = [row for row in rows if row["way"] == "machine"]
    assert [row["GFLOP/s"] for row in best] == [2.0] * len(best)
    threedgan, copula = (next(row for row in rows if row["way"] == name) for name in bench.NETWORKS)
    for row in threedgan, copula:
        ratio = float(row["ms/shower"]) / float(row["floor ms"])
        assert float(row["x_floor"]) == pytest.approx(ratio, rel=0.02, abs=0.01)
    assert float(threedgan["floor ms"]) == pytest.approx(1e3 * 0.511 / 2, rel=0.01)


@pytest.mark.process
@needs_keras
def test_keras_makes_the_same_number_of_showers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BATCHES", (2,))
    monkeypatch.setattr(bench, "BATCHES", (2,))
    monkeypatch.setattr(bench, "TURN_S", 0.01)
    monkeypatch.setattr(generate, "matmul_flop_per_s", lambda: 2e9)
    monkeypatch.setattr(generate, "copy_bytes_per_s", lambda: 1e9)
    only = ["3dgan, Keras, threads 1", "3dgan, torch, streams 1, threads 1"]
    rows: list[Row] = [row for row in generate.measure(0.01, 1, only=only) if row["way"] == "3dgan"]
    keras, ours = rows
    assert str(keras["engine"]).startswith("Keras 3")
    assert keras["x_keras"] == 1
    ratio = float(keras["ms/shower"]) / float(ours["ms/shower"])
    assert float(ours["x_keras"]) == pytest.approx(ratio, rel=0.05, abs=0.1)


@pytest.mark.process
@needs_keras
def test_keras_and_every_way_of_ours_take_their_turns(
    tmp_path: Path, study: Caloforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_train, "LEAST_ROUNDS", 1)
    out = tmp_path / "train.json"
    ran = study("speed", "train", "--minutes", 0.01, "--batch", 1, "-o", out)
    assert ran.code == 0, ran.err
    result = json.loads(out.read_text())
    assert result["command"] == "python -m studies.speed train --minutes 0.01 --seed 1 --batch 1"
    rows = result["rows"]
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    keras, ours = rows[0], rows[1]
    assert "Keras 3" in keras["one iteration of"]
    assert keras["x_keras"] == 1
    ratio = float(keras["ms/shower"]) / float(ours["ms/shower"])
    assert float(ours["x_keras"]) == pytest.approx(ratio, rel=0.02, abs=0.02)
    assert {row["one iteration of"] for row in rows} > set(bench_train.ways(1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --only copula", "train: expected no options of the other part"),
        ("generate --batch 2", "generate: expected no options of the other part"),
        ("generate --only abacus", "--only: expected words of a row"),
    ],
)
def test_wrong_options_are_one_line(study: Caloforge, arguments: str, words: str) -> None:
    ran = study("speed", *arguments.split(maxsplit=2))
    assert ran.code == 2
    assert words in ran.err


def test_operations_of_the_published_layers() -> None:
    # Cells out, times kernel and channels in, times filters; last the dense layers.
    generator = (
        392 * 288 * 8 * 64 + 1638 * 240 * 64 * 6 + 26**3 * 72 * 6 * 6 + 25**3 * 8 * 6 + 200 * 3136
    )
    first = 25**3 * 125 * 32
    discriminator = first + 25**3 * 125 * (32 * 8 + 8 * 8) + 23**3 * 125 * 8 * 8 + 2 * 10_648
    expected = 2 * (7 * generator + 10 * discriminator - 2 * first - 2 * 200 * 3136)
    assert iteration_flops() == expected == 19_024_367_456


def test_without_keras_what_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_baseline, "find_spec", lambda name: None)
    with pytest.raises(CaloforgeError, match="pip install keras"):
        train.measure(0.01, 1)


@pytest.mark.process
@needs_keras
def test_a_keras_that_does_not_start_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "abacus")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(CaloforgeError, match=r"Keras with backend abacus ended: .*abacus") as error:
        train.measure(0.01, 1, batch=1)
    assert "\n" not in str(error.value)


def test_as_written_uses_no_layer_of_ours_for_dropout() -> None:
    network = as_written(Discriminator3DGAN((5, 5, 5)))
    assert not any(isinstance(module, Dropout) for module in network.modules())
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == 4
    logit, *_ = network(torch.rand(2, 5, 5, 5))
    assert torch.isfinite(logit).all()
