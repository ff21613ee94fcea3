"""From Geant4 or a public file to a report, for every kind of read-out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Caloforge
from shower_samples import write_lemurs

import caloforge as cf
from caloforge.detector import load_detector, shipped_detectors

MODEL = {"clic-ecal-angle": "3dgan-angle"}


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


@pytest.mark.training
def test_a_cylindrical_public_layout(caloforge: Caloforge, tmp_path: Path) -> None:
    source, showers = write_lemurs(tmp_path / "lemurs.h5", n=8), tmp_path / "showers.h5"
    assert caloforge("convert", source, "-o", showers).code == 0
    report = chain(caloforge, showers, "3dgan")
    assert cf.read(tmp_path / "generated.h5").grid.axes == ("r", "phi", "layer")
    metrics = json.loads((report / "metrics.json").read_text())
    assert "shape.phi.mean_rel_error" in metrics
    assert (report / "report.html").stat().st_size > 10_000
