from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Caloforge

from caloforge.foundations.errors import MissingExtraError

pytestmark = pytest.mark.geant4


@pytest.fixture(autouse=True)
def one_quick_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caloforge.bench.geant4.shipped_detectors", lambda: ("pbwo4",))
    monkeypatch.setattr("caloforge.bench.geant4.SPECTRA_GEV", ("1", "log:1:3"))


def test_the_result_tells_how_long_on_what_and_with_what(tmp_path: Path, caloforge: Caloforge) -> None:
    ran = caloforge("bench", "geant4", "--minutes", "0.01", "--seed", "4", "-o", tmp_path / "r.json")
    assert ran.code == 0, ran.err
    result = json.loads((tmp_path / "r.json").read_text())
    assert (result["bench"], result["seed"]) == ("geant4", 4)
    assert result["machine"]["cores"] >= 1
    assert result["versions"]["geant4-pybind"]
    assert [row["GeV"] for row in result["rows"]] == ["1", "log:1:3"]
    for row in result["rows"]:
        assert row["detector"] == "pbwo4"
        assert row["showers"] >= 2
        assert row["startup_s"] > row["mean_s"] > row["error_s"] > 0
        assert row["per_s"] == pytest.approx(1 / row["mean_s"])
    assert "pbwo4" in ran.out
    assert "startup_s" in ran.out


def test_without_geant4_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from caloforge.bench.geant4 import measure

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"^bench geant4 needs"):
        measure(1, 1)
