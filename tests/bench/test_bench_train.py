from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from caloforge.bench import keras_baseline, train
from caloforge.bench.train import measure
from caloforge.foundations.errors import CaloforgeError, MissingExtraError
from caloforge.models.threedgan.as_written import as_written, iteration_flops
from caloforge.models.threedgan.fixed_angle import Discriminator3DGAN
from caloforge.models.threedgan.layers import Dropout

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="keras is not installed"
)


@pytest.mark.process
@needs_keras
def test_keras_and_every_way_of_ours_take_their_turns() -> None:
    reports: list[tuple[int, int]] = []
    rows = measure(0.01, 1, lambda done, total, **figures: reports.append((done, total)), batch=1)
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    keras, ours = rows[0], rows[1]
    assert "Keras 3" in str(keras["one iteration of"])
    assert keras["x_keras"] == 1
    assert all(float(row["ms/shower"]) > 0 for row in rows)
    batches = {str(row["one iteration of"]): row["batch"] for row in rows}
    assert {name: size for name, size in batches.items() if size != 1} == {
        "copula": train.COPULA_BATCH,
        "copula, one thread": train.COPULA_BATCH,
    }
    ratio = float(keras["ms/shower"]) / float(ours["ms/shower"])
    assert float(ours["x_keras"]) == pytest.approx(ratio, rel=0.02, abs=0.02)
    assert reports[-1] == (train.LEAST_ROUNDS, train.LEAST_ROUNDS)


def test_operations_of_the_published_layers() -> None:
    # Cells out, times kernel and channels in, times filters; last the dense layers.
    generator = (
        392 * 288 * 8 * 64 + 1638 * 240 * 64 * 6 + 26**3 * 72 * 6 * 6 + 25**3 * 8 * 6 + 200 * 3136
    )
    first = 25**3 * 125 * 32
    discriminator = first + 25**3 * 125 * (32 * 8 + 8 * 8) + 23**3 * 125 * 8 * 8 + 2 * 10_648
    expected = 2 * (7 * generator + 10 * discriminator - 2 * first - 2 * 200 * 3136)
    assert iteration_flops() == expected == 19_024_367_456


def test_without_keras_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_baseline, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"caloforge\[keras\]"):
        measure(0.01, 1)


@pytest.mark.process
@needs_keras
def test_a_keras_that_does_not_start_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "abacus")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(CaloforgeError, match=r"Keras with backend abacus ended: .*abacus") as error:
        measure(0.01, 1, batch=1)
    assert "\n" not in str(error.value)


def test_as_written_uses_no_layer_of_ours_for_dropout() -> None:
    network = as_written(Discriminator3DGAN((5, 5, 5)))
    assert not any(isinstance(module, Dropout) for module in network.modules())
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == 4
    logit, *_ = network(torch.rand(2, 5, 5, 5))
    assert torch.isfinite(logit).all()
