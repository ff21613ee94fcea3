"""The protocol's numbers: all there, with errors and floors, or null; and the sentence that names it."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from caloforge.comparison.calochallenge import protocol
from caloforge.comparison.calochallenge.classifier import Settings
from caloforge.comparison.calochallenge.distances import published_fpd, published_kpd
from caloforge.comparison.calochallenge.inputs import Inputs
from caloforge.comparison.calochallenge.protocol import judge_as_published, sentence
from caloforge.observables.sparse_showers import SparseShowers

SMALL = Settings(layers=(8,), learning_rate=1e-2, batch=50, epochs=2)


def inputs(n: int, shift: float, seed: int) -> Inputs:
    x_NF = np.random.default_rng(seed).normal(shift, 1, (n, 4))
    return Inputs(SparseShowers.of(x_NF.astype(np.float32)[:, :, None, None]), x_NF[:, 0], x_NF)


@pytest.fixture(autouse=True)
def few_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = partial(published_fpd, smallest=100, largest=200, batches=2)
    monkeypatch.setattr(protocol, "published_fpd", quick)
    monkeypatch.setattr(protocol, "published_kpd", partial(published_kpd, size=100))


@pytest.mark.training
def test_every_number_has_an_error_and_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caloforge.comparison.auc_curve.SIZES", (100, 160))
    seen: list[tuple[int, str]] = []
    near, far = judge_as_published(
        inputs(260, 0, 1),
        [inputs(200, 0, 2), inputs(260, 3, 3)],
        settings=SMALL,
        runs=2,
        progress=lambda done, total, **figures: seen.append((done, str(figures["stage"]))),
    )
    for name in ("auc.low", "auc.high", "fpd", "kpd"):
        for end in ("", "_err", "_floor", "_floor_err"):
            assert np.isfinite(far[f"calochallenge.{name}{end}"])
        assert far[f"calochallenge.{name}"] > near[f"calochallenge.{name}"]
        assert far[f"calochallenge.{name}_floor"] == near[f"calochallenge.{name}_floor"]
    assert near["calochallenge.n_showers"] == 200
    assert near["calochallenge.n_floor"] == 130
    for kind in ("low", "high"):
        curve = near["calochallenge.auc_curve"][kind]
        assert curve["sizes"] == [100, 160, 200]
        assert curve["auc"][-1] == near[f"calochallenge.auc.{kind}"]
        assert curve["floor_sizes"] == [100, 130]
        assert curve["floor"][-1] == near[f"calochallenge.auc.{kind}_floor"]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {f"calochallenge: {what}" for what in ("distances", "voxels", "observables")} == {
        s for _, s in seen
    }
    text = sentence(near)
    assert all(
        word in text for word in ("CaloChallenge", "200 showers a side", "120 train", "130", "2 runs")
    )
    json.dumps([near, far], allow_nan=False)


def test_too_few_showers_give_nulls() -> None:
    found = judge_as_published(inputs(30, 0, 1), [inputs(30, 0, 2)], settings=SMALL)[0]
    names = [f"calochallenge.{name}" for name in ("auc.low", "auc.high_err", "fpd", "kpd_floor")]
    assert [found[name] for name in names] == [None] * 4
    assert found["calochallenge.auc_curve"]["low"]["auc"] == [None]
    assert sentence(found)
