from __future__ import annotations

import pytest

from caloforge.bench.generate import NETWORKS, _flop, measure
from caloforge.detector import load_detector


def test_the_published_network_costs_half_a_gflop() -> None:
    assert _flop("3dgan", load_detector("clic-ecal").grid) == pytest.approx(0.51e9, rel=0.02)


def test_every_network_stands_beside_geant4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caloforge.bench.generate.BATCHES", (1, 8))
    seen: list[int] = []
    rows = measure(1.0, 1, lambda done, total, **figures: seen.append(done))
    assert {row["way"] for row in rows} == {"Geant4", *NETWORKS}
    geant4 = float(rows[0]["ms/shower"])
    for row in rows[1:]:
        assert 0 < float(row["ms/shower"]) < geant4
        assert float(row["floor ms"]) > 0
        assert float(row["x_geant4"]) == pytest.approx(
            geant4 / float(row["ms/shower"]), rel=0.01, abs=0.1
        )
    assert seen[-1] == 3
