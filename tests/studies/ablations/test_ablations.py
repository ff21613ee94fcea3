"""Ablations: each network is trained and judged, what is done is kept, and a dead generator is said to be one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from caloforge.detector import Grid
from caloforge.files.shipped import shipped_showers
from caloforge.foundations.units import GEV
from caloforge.models.registry import MODELS
from studies.ablations.__main__ import Name, run
from studies.ablations.arms import ABLATIONS, FAMILY_IN_GEV
from studies.ablations.figure import draw_ablation
from studies.core_showers import CORES, write_core


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    pass


def test_the_names_are_the_ablations() -> None:
    assert {name.value for name in Name} == set(ABLATIONS)


def test_images_in_gev_are_those_of_the_original_code() -> None:
    model = FAMILY_IN_GEV.build(Grid("small", (5, 5, 8)), 0.001, {"filters": 3})
    assert float(model.transform.forward(torch.tensor(3 * GEV))) == pytest.approx(3)


def test_a_core_holds_about_half_of_the_energy(tmp_path: Path) -> None:
    from caloforge.files.shower_file import ShowerFile

    with ShowerFile(shipped_showers("test")) as file:
        whole = file.read(0, len(file))
    for core in CORES:
        with ShowerFile(write_core(tmp_path / f"{core}.h5", shipped_showers("test"), core)) as file:
            part = file.read(0, len(file))
        assert "x".join(map(str, part.grid.shape)) == core
        assert np.all(part.deposits.sum((1, 2, 3)) <= 1.0001 * whole.deposits.sum((1, 2, 3)))
        assert part.deposits.sum() > 0.45 * whole.deposits.sum()


@pytest.mark.training
def test_the_smallest_ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, figure = tmp_path / "designs.json", tmp_path / "designs.png"
    run(Name.designs, core="5x5x8", core_seconds=1, only="copula", output=result, figure=figure)
    found = json.loads(result.read_text())
    (row,) = found["runs"]
    assert row["arm"] == "copula"
    assert row["steps"] >= 4
    assert min(row["ms_128"], row["ms_1"]) > 0
    assert row["empty"] == 0
    assert 0.4 < row["auc.low"] <= 1
    assert 0 < row["met"] <= row["requirements"]
    assert found["core"] == "5x5x8"
    assert found["showers"]["test"] > 0
    assert 0.3 < found["floors"]["auc.low_floor"] < 0.7
    assert figure.read_bytes().startswith(b"\x89PNG")
    run(Name.designs, core="5x5x8", core_seconds=1, only="copula", output=result)
    assert json.loads(result.read_text()) == found
    assert "3dgan in GeV" not in MODELS


def test_what_was_not_measured_is_drawn_as_that(tmp_path: Path) -> None:
    rows = [{"arm": arm, "seed": 1, "empty": 1.0} for arm in ABLATIONS["units"].arms]
    draw_ablation(tmp_path / "units.png", ABLATIONS["units"], rows)
    assert (tmp_path / "units.png").read_bytes().startswith(b"\x89PNG")
