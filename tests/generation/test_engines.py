"""Engines: each makes torch's showers, and the fastest is found once."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import Caloforge
from torch import Tensor

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.generation.engines import engine as engines
from caloforge.generation.engines.engine import LIBRARIES, choose, installed, make_forward
from caloforge.generation.engines.onnx_file import onnx_file
from caloforge.models.base import ShowerModel
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard, save_model
from caloforge.models.shared.transforms import Transform
from caloforge.models.threedgan import convolution
from caloforge.showers import Conditions, Domain
from caloforge.showers.batch import Given

GRID = Grid("small", (9, 9, 6), cell_size=(5.0, 5.0), threshold_MeV=0.01, layer_pitch_mm=5.0)
BATCH = 4
CONDITIONS = Conditions.of(np.linspace(20e3, 400e3, 6))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(cache))


def a_model(name: str) -> ShowerModel:
    torch.manual_seed(0)
    name, _, tilted = name.partition(" ")
    domain = Domain((1e3, 1e6), (1.2, 1.9) if tilted else (math.pi / 2, math.pi / 2))
    model = MODELS[name].build(GRID, GRID.threshold_MeV, domain=domain).eval()
    model.prepare()
    return model


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "copula",
        pytest.param("copula tilted", marks=pytest.mark.slow),
        pytest.param("mixer", marks=pytest.mark.slow),
        "3dgan",
        pytest.param("3dgan-angle", marks=pytest.mark.slow),
    ],
)
def test_engines_agree(name: str) -> None:
    pytest.importorskip("onnxscript")
    for kept in (convolution._merge, convolution._transforms):
        kept.cache_clear()  # as in a process of its own
    model = a_model(name)
    forwards = {engine: make_forward(engine, model, BATCH) for engine in installed()[1:]}
    angles = np.linspace(1.2, 1.9, 6) if "incident_theta" in model.follows else np.full(6, math.pi / 2)
    conditions = Conditions.of(CONDITIONS.incident_energy, angles)
    wanted = model.sample(conditions, 1)
    for engine, forward in forwards.items():
        got = model.sample(conditions, 1, forward=forward)  # a whole piece and a filled one
        hits = (wanted > 0) & (got > 0)
        # At its threshold a cell may fall on either side; there is one in thousands of cells at most.
        assert np.count_nonzero((wanted > 0) != (got > 0)) <= 2, engine
        assert np.count_nonzero(hits) > 100
        # Single precision leaves few digits to the largest of many deposits.
        error = np.abs(got[hits] / wanted[hits] - 1)
        assert np.quantile(error, 0.99) < 1e-3, engine
        assert np.median(error) < 1e-5, engine
        np.testing.assert_allclose(got.sum((1, 2, 3)), wanted.sum((1, 2, 3)), rtol=1e-4)


def test_a_model_is_exported_once_for_its_weights_and_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[int] = []

    def export(model: ShowerModel, batch: int) -> bytes:
        exported.append(batch)
        return b"onnx"

    monkeypatch.setattr("caloforge.generation.engines.onnx_file._export", export)
    monkeypatch.setattr("caloforge.export.onnx_graph.version", lambda name: "1")
    model = a_model("3dgan")
    paths = [onnx_file(model, BATCH, "onnx") for _ in range(2)]
    paths.append(onnx_file(model, 1, "onnx"))
    with torch.no_grad():
        next(model.parameters()).add_(1)
    paths.append(onnx_file(model, BATCH, "onnx"))
    assert exported == [BATCH, 1, BATCH]
    assert len(set(paths)) == 3
    assert {path.read_bytes() for path in paths} == {b"onnx"}


@pytest.mark.parametrize("content", [b"", b"onn", b"onny", b"\0"])
def test_a_kept_file_that_changed_is_made_again(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("caloforge.generation.engines.onnx_file._export", lambda *_: b"onnx")
    monkeypatch.setattr("caloforge.export.onnx_graph.version", lambda name: "1")
    model = a_model("3dgan")
    path = onnx_file(model, BATCH, "onnx")
    path.write_bytes(content)
    again = onnx_file(model, BATCH, "onnx")
    assert again.read_bytes() == b"onnx"
    assert list(again.parent.glob(f"{again.name[:32]}*")) == [again]


@pytest.mark.parametrize("failures", [1, 2])
def test_a_kept_file_that_does_not_load_is_made_again_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failures: int
) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path))
    tried: list[Path] = []

    def load(path: Path, callers: int, threads: int) -> object:
        tried.append(path)
        if len(tried) <= failures:
            raise RuntimeError("no graph\nin there")
        return None

    exported: list[int] = []

    def export(model: ShowerModel, batch: int) -> bytes:
        exported.append(batch)
        return b"graph"

    monkeypatch.setattr("caloforge.generation.engines.onnx_file._export", export)
    monkeypatch.setattr("caloforge.export.onnx_graph.version", lambda name: "2")
    monkeypatch.setattr(engines, "import_module", lambda name: SimpleNamespace(Compiled=load))
    monkeypatch.setattr(engines, "library_versions", lambda *_: [])
    if failures == 1:
        assert callable(make_forward("onnx", a_model("3dgan"), BATCH))
    else:
        with pytest.raises(CaloforgeError, match=r"^--engine onnx: \w+ cannot be loaded: no graph$"):
            make_forward("onnx", a_model("3dgan"), BATCH)
    assert exported == [BATCH, BATCH]
    assert tried[-1].exists() == (failures == 1)


def test_remembered_times_that_changed_are_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path))
    monkeypatch.setattr(engines, "installed", lambda: ["torch", "onnx"])
    monkeypatch.setattr(engines, "version", lambda name: "1")
    monkeypatch.setattr(engines, "_measure", lambda *_: {"torch": 1.0, "onnx": 2.0})
    model = a_model("3dgan")
    assert choose(model, CONDITIONS)[0] == "torch"
    (memory,) = (tmp_path / "engines").iterdir()
    kept = memory.read_text()
    for text in (kept.replace("2.0", "0.2"), kept.replace("sha256", "sha257"), "[1]", ""):
        memory.write_text(text)
        assert choose(model, CONDITIONS)[0] == "torch"
        assert memory.read_text() == kept


def test_the_fastest_engine_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    def measure(names: list[str], model: ShowerModel, conditions: Conditions, threads: int) -> object:
        measured.append(len(conditions))
        return {name: 1.0 / (1 + place) for place, name in enumerate(names)}

    monkeypatch.setattr(engines, "installed", lambda: ["torch", "onnx"])
    monkeypatch.setattr(engines, "version", lambda name: "1")
    monkeypatch.setattr(engines, "_measure", measure)
    model = a_model("3dgan")
    for _ in range(2):
        assert choose(model, CONDITIONS) == ("onnx", {"torch": 1.0, "onnx": 0.5})
    choose(model, CONDITIONS[:1])
    assert measured == [6, 1]
    monkeypatch.setattr(engines, "installed", lambda: ["torch"])
    assert choose(model, CONDITIONS) == ("torch", {})


def test_each_engine_is_measured_where_it_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def forward(name: str, model: ShowerModel, batch: int, streams: int, threads: int) -> ShowerModel:
        asked.append((name, batch))
        return model

    monkeypatch.setattr(engines, "make_forward", forward)
    times = engines._measure(["torch", "onnx"], a_model("3dgan"), CONDITIONS, 1)
    assert asked == [("torch", 6), ("onnx", 6)]
    assert all(ms > 0 for ms in times.values())


class Undecided(ShowerModel):
    """Does what no graph holds: its way depends on its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.threshold_MeV, self.noise_size = GRID, 0.01, 3
        self.transform = Transform()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Return one deposit everywhere."""
        if noise_BL.sum() > 0:
            return self.weight * given.energy_B[:, None, None, None].expand(-1, *GRID.shape)
        return self.weight * noise_BL.new_ones(len(noise_BL), *GRID.shape)


def test_a_model_that_cannot_be_exported_says_so_and_is_left_to_torch() -> None:
    pytest.importorskip("onnxscript")
    model = Undecided().eval()
    with pytest.raises(CaloforgeError, match=r"--engine onnx: Undecided cannot be written as ONNX: \S"):
        make_forward("onnx", model, BATCH)
    assert choose(model, CONDITIONS)[0] == "torch"


@pytest.mark.parametrize("name", LIBRARIES)
def test_an_engine_that_is_not_installed_names_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIBRARIES, name, ("no-such-package",))
    assert name not in installed()
    with pytest.raises(MissingExtraError, match=rf"--engine {name} needs .*caloforge\[{name}\]"):
        make_forward(name, a_model("3dgan"), BATCH)
    with pytest.raises(UsageError, match="expected one of torch"):
        make_forward("abacus", a_model("3dgan"), BATCH)


def test_ranks_name_their_engine(
    caloforge: Caloforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ModelCard("3dgan", GRID, 1.0, (10e3, 500e3), (math.pi / 2, math.pi / 2))
    save_model(tmp_path, card.build(), card)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    line = f"generate {tmp_path} --events 2 --energy 50 --engine auto -o {tmp_path / 'x.h5'}"
    ran = caloforge(*line.split())
    assert ran.code == 2
    assert "--engine auto: each rank could take another" in ran.err
    assert ran.err.count("\n") == 1
