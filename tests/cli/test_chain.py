"""From Geant4 or a public file to a report, for every kind of read-out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Caloforge
from shower_samples import write_lemurs

import caloforge as cf
from caloforge.detector import load_detector, shipped_detectors

MODEL = {"clic-ecal-angle": "3dgan-angle"}

BLOCKS = {
    "x, y, z": "cells: [7, 7]\ncell_size_mm: [22, 22]",
    "r, phi, layer": "readout: {rings: 4, ring_mm: 20, sectors: 8}",
}
LAYERS = """
layers: [{repeat: 6, slabs: [{material: G4_PbWO4, thickness_mm: 18, sensitive: true}]}]
margin_mm: 20
threshold_MeV: 0.1
"""


pytestmark = pytest.mark.usefixtures("few_plots")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))


def chain(caloforge: Caloforge, showers: Path, model: str) -> Path:
    """Train for two steps, generate, validate; give the folder of the report."""
    folder = showers.parent
    short = ["--set", "max_steps=2", "--set", "batch_size=2", "--set", "check_showers=2"]
    for command in (
        ["train", "--model", model, "--data", showers, "--out", folder / "run", *short],
        ["generate", folder / "run", "--like", showers, "-o", folder / "generated.h5"],
        ["validate", showers, folder / "generated.h5", "-o", folder / "report"],
    ):
        ran = caloforge(*command)
        assert ran.code == 0, ran.err
    return folder / "report"


@pytest.mark.geant4
@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_detectors())
def test_every_shipped_detector(name: str, caloforge: Caloforge, tmp_path: Path) -> None:
    showers = tmp_path / "showers.h5"
    theta = ["--theta", "70:110"] if name in MODEL else []
    ran = caloforge(
        "simulate", "--detector", name, "--events", 6, "--energy", "1:5", *theta, "-o", showers
    )
    assert ran.code == 0, ran.err
    report = chain(caloforge, showers, MODEL.get(name, "3dgan"))
    generated = cf.read(tmp_path / "generated.h5")
    assert generated.deposits.shape == (6, *load_detector(name).grid.shape)
    assert generated.grid.name == name
    positive = generated.deposits[generated.deposits > 0]
    assert positive.min() >= load_detector(name).threshold_MeV
    assert json.loads((report / "metrics.json").read_text())["n_candidate"] == 6


@pytest.mark.geant4
@pytest.mark.parametrize("cells", BLOCKS)
def test_electrons_positrons_and_photons_from_everywhere(
    cells: str, caloforge: Caloforge, tmp_path: Path
) -> None:
    """One model of several particles, which may come from any direction, on either kind of read-out."""
    detector = tmp_path / "block.yaml"
    detector.write_text(f"name: block\n{BLOCKS[cells]}{LAYERS}")
    beam = ["--energy", "0.5:2", "--theta", "75:105", "--phi", "0:360"]
    particles = ["--particle", "e-,e+,gamma"]
    showers = tmp_path / "showers.h5"
    made = caloforge(
        "simulate", "--detector", detector, "--events", 40, *beam, *particles, "-o", showers
    )
    assert made.code == 0, made.err
    report = chain(caloforge, showers, "copula")
    conditions = cf.read(tmp_path / "generated.h5").conditions
    real = cf.read(showers)
    assert ", ".join(real.grid.axes) == cells
    for name, values in real.conditions.columns().items():
        assert np.array_equal(conditions.columns()[name], values), name
    photons = tmp_path / "photons.h5"
    ran = caloforge(
        "generate", tmp_path / "run", "--events", 5, *beam, "--particle", "gamma", "-o", photons
    )
    assert ran.code == 0, ran.err
    assert set(cf.read(photons).conditions.particle.tolist()) == {22}
    assert json.loads((report / "metrics.json").read_text())["n_candidate"] == 40


@pytest.mark.training
def test_a_cylindrical_public_layout(caloforge: Caloforge, tmp_path: Path) -> None:
    source, showers = write_lemurs(tmp_path / "lemurs.h5", n=8), tmp_path / "showers.h5"
    assert caloforge("convert", source, "-o", showers).code == 0
    report = chain(caloforge, showers, "3dgan")
    assert cf.read(tmp_path / "generated.h5").grid.axes == ("r", "phi", "layer")
    metrics = json.loads((report / "metrics.json").read_text())
    assert "shape.phi.mean_rel_error" in metrics
    assert (report / "report.html").stat().st_size > 10_000
