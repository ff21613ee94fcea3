"""A copula that has seen a few showers of calochallenge-2, and run folders of small models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import MadeOnce
from export_samples import Made, a_cylinder, a_marked, a_model, few_showers

from caloforge.detector import load_detector
from caloforge.export.targets import export_model
from caloforge.files.shower_writer import write
from caloforge.models.saved import load_model, save_model
from caloforge.training.session import train


@pytest.fixture
def calochallenge(made_once: MadeOnce, own_cache: None) -> Callable[[], Made]:
    """Return a function that loads a copula for calochallenge-2, trained for two steps."""

    def fill(folder: Path) -> None:
        write(folder / "few.h5", few_showers(load_detector("calochallenge-2").grid))
        settings = {"max_steps": 2, "batch_size": 8}
        train(folder / "few.h5", folder / "run", model="copula", settings=settings)

    return lambda: load_model(made_once("calochallenge-2", fill) / "run")


@pytest.fixture
def exported(
    made_once: MadeOnce, calochallenge: Callable[[], Made]
) -> Callable[[str], tuple[Made, Path]]:
    """Return a function that exports a model to ONNX for a target, once: it takes seconds."""
    pytest.importorskip("onnxscript")
    models: dict[str, Callable[[], Made]] = {
        "onnx": lambda: a_model("copula", tilted=True, particles=True),
        "par04": calochallenge,
        "ddml": lambda: a_marked(a_cylinder()),
    }

    def export(target: str) -> tuple[Made, Path]:
        made = models[target]()
        folder = made_once(
            f"export-{target}", lambda folder: export_model(*made, target, folder / "x.onnx")
        )
        return made, folder / "x.onnx"

    return export


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Made], Path]:
    """Return a function that saves a model as a run folder."""

    def save(made: Made) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        save_model(folder, *made)
        return folder

    return save
