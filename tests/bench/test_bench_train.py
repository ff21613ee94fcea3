from __future__ import annotations

import pytest

from caloforge.bench import train


@pytest.mark.training
def test_every_way_takes_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "LEAST_ROUNDS", 1)
    reports: list[tuple[int, int]] = []
    rows = train.measure(0.01, 1, lambda done, total, **_: reports.append((done, total)), batch=1)
    assert len({tuple(row) for row in rows}) == 1  # all have the same columns
    assert all(float(row["ms/shower"]) > 0 for row in rows)
    batches = {str(row["one iteration of"]): row["batch"] for row in rows}
    assert batches["caloforge fp32"] == 1
    assert {name: size for name, size in batches.items() if size != 1} == {"copula": train.COPULA_BATCH}
    assert reports[-1] == (train.LEAST_ROUNDS, train.LEAST_ROUNDS)
