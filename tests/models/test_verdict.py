"""A model's folder keeps what comparisons found, and who asks for energies where it failed is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Caloforge
from hypothesis import assume, given
from hypothesis import strategies as st

from caloforge.files.shipped import pretrained_weights
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.models.verdict import add_verdict, failures


def requirement(name: str, *ranges: tuple[float, float] | None) -> dict[str, Any]:
    checks = [
        {"where": "all energies" if r is None else f"{r[0]:g} to {r[1]:g} GeV", "energy_range_GeV": r}
        for r in ranges
    ]
    return {"name": name, "failed": checks}


def metrics(*requirements: dict[str, Any]) -> dict[str, Any]:
    return {"n_reference": 400, "n_candidate": 400, "requirements": list(requirements)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    source = pretrained_weights()["clic-ecal"]
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copyfile(source / name, folder / name)
    return folder


def test_failures_are_told_where_the_energies_overlap(model: Path) -> None:
    assert failures(model, (1e4, 5e5)) is None
    add_verdict(
        model, "a.h5", metrics(requirement("Response", (10, 20)), requirement("Hits", (100, 200)))
    )
    assert failures(model, (12e3, 13e3)) == "against Geant4 this model failed: Response (10 to 20 GeV)"
    assert failures(model, (150e3, 150e3)) == "against Geant4 this model failed: Hits (100 to 200 GeV)"
    assert failures(model, (20e3, 100e3)) is None
    add_verdict(model, "b.h5", metrics(requirement("Width", None)))
    assert failures(model, (20e3, 100e3)) == "against Geant4 this model failed: Width (all energies)"
    add_verdict(model, "a.h5", metrics())
    add_verdict(model, "b.h5", metrics())
    assert failures(model, (1e4, 5e5)) is None


@given(st.floats(1, 400), st.floats(1, 400), st.floats(1, 400), st.floats(1, 400))
def test_ranges_overlap_as_intervals_do(a: float, b: float, c: float, d: float) -> None:
    from caloforge.models.verdict import _where

    (low, high), (first, last) = sorted((a, b)), sorted((c, d))
    assume(low < high and first < last)
    found = list(_where(requirement("x", (low, high)), (first, last)))
    assert bool(found) == (max(low, first) < min(high, last))


def test_many_failures_are_counted(model: Path) -> None:
    add_verdict(model, "a.h5", metrics(*(requirement(f"R{i}", (10, 20)) for i in range(6))))
    told = failures(model, (15e3, 15e3))
    assert told is not None
    assert told.endswith("R3 (10 to 20 GeV) and 2 more")


def test_a_verdict_of_other_weights_does_not_count(model: Path, tmp_path: Path) -> None:
    add_verdict(model, "a.h5", metrics(requirement("Response", (10, 20))))
    other = pretrained_weights()["clic-ecal-angle"]
    for name in ("model.safetensors", "model.json"):
        shutil.copyfile(other / name, model / name)
    assert failures(model, (15e3, 15e3)) is None


def test_a_changed_verdict_is_refused(model: Path) -> None:
    add_verdict(model, "a.h5", metrics(requirement("Response", (10, 20))))
    path = model / "verdict.json"
    path.write_text(path.read_text().replace('"Response"', '"Nothing"'))
    with pytest.raises(CaloforgeError, match=r"verdict\.json: field sha256"):
        failures(model, (15e3, 15e3))
    path.write_text(json.dumps({"format": "other"}))
    with pytest.raises(CaloforgeError, match="field format: expected caloforge-verdict"):
        failures(model, (15e3, 15e3))


def test_there_must_be_a_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a run folder"):
        add_verdict(tmp_path, "a.h5", metrics())


def test_generate_warns_where_the_model_failed(
    model: Path, tmp_path: Path, caloforge: Caloforge
) -> None:
    add_verdict(model, "a.h5", metrics(requirement("Response", (10, 20))))
    for energy, warned in (("15", True), ("50", False)):
        out = tmp_path / f"{energy}.h5"
        ran = caloforge("generate", model, "--events", 2, "--energy", energy, "-o", out)
        assert ran.code == 0, ran.err
        assert ("warning: against Geant4 this model failed: Response" in ran.err) == warned


@pytest.mark.long
def test_a_verdict_is_kept_for_the_model_that_made_the_showers(
    model: Path, tmp_path: Path, caloforge: Caloforge
) -> None:
    for name in ("a", "b"):
        ran = caloforge(
            "generate", model, "--events", 30, "--energy", "10:50", "-o", tmp_path / f"{name}.h5"
        )
        assert ran.code == 0, ran.err
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    ran = caloforge("validate", *files, "-o", tmp_path / "r", "--only", "numbers", "--card", model)
    assert ran.code == 0, ran.err
    kept = json.loads((model / "verdict.json").read_text())
    assert [entry["reference"] for entry in kept["comparisons"]] == ["a.h5"]
    other = pretrained_weights()["clic-ecal-angle"]
    again = ("validate", *files, "-o", tmp_path / "s", "--card", other)
    caloforge(*again).refused(2, "--card", "b.h5 was not generated by this model")
