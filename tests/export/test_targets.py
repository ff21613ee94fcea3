"""Exports are read by other programs as they read them, and make the model's showers; what cannot be is one line and no file."""

from __future__ import annotations

import importlib
import json
import math
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Caloforge
from export_samples import PLANE, Made, Marked, a_marked, a_model
from numpy.typing import NDArray
from torch import Tensor

from caloforge.detector import Grid
from caloforge.export import onnx_graph, targets
from caloforge.export.containers import read_note
from caloforge.export.counter_noise import normals_of_latents
from caloforge.export.forms import Directed
from caloforge.export.targets import export_model
from caloforge.files.tensors import digest
from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.generation.sampler import Generator
from caloforge.models.base import ShowerModel
from caloforge.showers import Conditions
from caloforge.showers.batch import Given

SQUARE = Grid("square", (9, 9, 6), cell_size=(5.0, 5.0), threshold_MeV=0.01, layer_pitch_mm=5.0)


def session(path: Path, *, optimise: bool = True) -> Any:
    """Open a file as a C++ program would, by ONNX Runtime alone."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def require_same(got: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Require the same showers (N, nx, ny, nz) up to rounding."""
    assert got.shape == wanted.shape
    assert (np.count_nonzero(wanted, axis=(1, 2, 3)) > 20).all()
    apart_N = np.abs(got - wanted).sum((1, 2, 3)) / wanted.sum((1, 2, 3))
    assert (apart_N < 1e-3).all()
    assert np.count_nonzero((got > 0) != (wanted > 0)) <= 2


def require_batches(model: ShowerModel, path: Path) -> None:
    """Require batches of different sizes of the model's showers, of conditions that it follows."""
    opened, follows = session(path), model.follows
    for count, seed in ((1, 1), (5, 2)):
        rng = np.random.default_rng(seed)
        conditions = Conditions.of(
            rng.uniform(5e3, 1e5, count),
            rng.uniform(1.2, 1.9, count) if "incident_theta" in follows else None,
            rng.uniform(-3, 3, count) if "incident_phi" in follows else None,
            rng.uniform(-2, 2, (count, 2)),
            rng.choice([11, 22], count) if "pdg_id" in follows else None,
        )
        given = {
            "noise": model.noise(seed, 0, count).numpy(),
            "energy_MeV": conditions.incident_energy,
            "theta_rad": conditions.incident_theta,
            "phi_rad": conditions.phi,
            "impact_mm": conditions.impact_xy,
            "pdg_id": conditions.particle.astype(np.int64),
        }
        names = [entry.name for entry in opened.get_inputs()]
        (got,) = opened.run(["deposits_MeV"], {name: given[name] for name in names})
        require_same(got, model.sample(conditions, seed))


@pytest.mark.long
def test_onnx_makes_batches_of_any_size_of_all_conditions(
    exported: Callable[[str], tuple[Made, Path]],
) -> None:
    (model, card), path = exported("onnx")
    assert len(session(path).get_inputs()) == 2 + len(model.follows) == 6
    require_batches(model, path)
    note = session(path).get_modelmeta().custom_metadata_map
    assert json.loads(note["card"])["name"] == card.name
    assert json.loads(note["detector"]) == PLANE.to_json()
    assert json.loads(note["valid_range"])["energy_MeV"] == [5e3, 1e5]
    assert float(note["threshold_MeV"]) == 0.01
    assert note["weights_sha256"] == digest(model.state_dict(), "")
    assert note["program"].startswith("caloforge ")
    assert note["target"] == "onnx"
    assert read_note(path) == note


@pytest.mark.long
@pytest.mark.parametrize("name", ["3dgan", pytest.param("mixer", marks=pytest.mark.slow)])
def test_other_networks_are_exported_too(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model, card = a_model(name, SQUARE)
    result = Generator(model, card).export("onnx", path := tmp_path / "x.onnx")
    assert result["largest_difference"] < 1e-3
    assert result["inputs"] == [entry.name for entry in session(path).get_inputs()]
    require_batches(model, path)


def as_par04(opened: Any, latents: NDArray[Any], energy_MeV: float, angle: float) -> NDArray[Any]:
    """Do what Par04 does for one particle: one vector in, each number times the incident energy."""
    vector = np.concatenate([latents, [energy_MeV / 1_024_000, angle, 0, 1]]).astype(np.float32)
    (output,) = opened.run(None, {opened.get_inputs()[0].name: vector[None]})
    return np.asarray(output.ravel() * energy_MeV)


@pytest.mark.long
def test_par04_gets_showers_of_calochallenge_2(
    exported: Callable[[str], tuple[Made, Path]],
) -> None:
    (model, _), path = exported("par04")
    opened = session(path, optimise=False)
    (entry,), size = opened.get_inputs(), model.noise_size
    assert entry.shape == [1, size + 4]
    assert f"/Par04/inference/setSizeLatentVector {size}" in path.with_suffix(".mac").read_text()
    for energy_MeV, angle in ((2e3, 1.0), (5e4, 0.7)):
        noise_1L = model.noise(int(energy_MeV), 0, 1)
        got = as_par04(opened, noise_1L.numpy()[0], energy_MeV, angle)
        wanted = model.sample(Conditions.of(energy_MeV, impact_xy_mm=[0, 0]), int(energy_MeV))
        require_same(got.reshape(wanted.shape), wanted)
        assert got.shape == (9 * 16 * 45,)


@pytest.mark.long
def test_ddml_gets_rings_in_par04_s_form(exported: Callable[[str], tuple[Made, Path]]) -> None:
    """Its class for Par04's VAE passes ten numbers whatever it is told, and lays sectors from 0 on."""
    (model, _), path = exported("ddml")
    opened = session(path, optimise=False)
    assert [entry.shape for entry in opened.get_inputs()] == [[1, 14]]
    made = list[float]()
    for seed in (1, 2):
        latents_1K = torch.randn(1, 10, generator=torch.Generator().manual_seed(seed))
        got = as_par04(opened, latents_1K.numpy()[0], 2e4, 0.0).reshape(1, *model.grid.shape)
        noise_1L = normals_of_latents(latents_1K, model.noise_size)
        wanted = model.read_out(Given.of(torch.tensor([2e4])), noise_1L).numpy()
        require_same(np.roll(got, 3, axis=2), wanted)
        made.append(got.sum())
    assert made[0] != made[1]


@pytest.mark.parametrize("name", ["3dgan-angle", "copula"])
def test_ddml_gets_planes_in_l2lflows_form(name: str, tmp_path: Path) -> None:
    model, card = a_model(name, SQUARE if "3dgan" in name else PLANE, tilted=True)
    export_model(model, card, "ddml", path := tmp_path / "x.pt")
    extra = {"caloforge.json": ""}
    with warnings.catch_warnings(action="ignore"):  # DDML reads nothing newer
        program: Any = torch.jit.load(str(path), _extra_files=extra)  # type: ignore[no-untyped-call]
    assert json.loads(extra["caloforge.json"]) == read_note(path)
    for seed, theta in enumerate((1.3, math.pi / 2, 1.8)):
        row = [30.0, 0.0, math.cos(theta), math.sin(theta)]
        with torch.no_grad():
            torch.manual_seed(seed)
            output: Tensor = program(torch.tensor([row]))
            torch.manual_seed(seed)
            given = Given.of(torch.tensor([30e3]), torch.tensor([theta]))
            wanted = model.read_out(given, torch.randn(1, model.noise_size)).numpy()
        assert output.is_contiguous()
        require_same(output.permute(0, 2, 3, 1).numpy() * 1e3, wanted)


def test_an_export_leaves_torch_s_randomness_alone(tmp_path: Path) -> None:
    made = a_model("3dgan", SQUARE)
    before = torch.get_rng_state()
    export_model(*made, "ddml", tmp_path / "x.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_that_computes_something_else_is_not_left(
    caloforge: Caloforge,
    saved: Callable[[Made], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, out = saved(a_model("3dgan", SQUARE)), tmp_path / "x.pt"
    right = Directed.forward
    for wrong, words in (
        (lambda form, *inputs: right(form, *inputs) * 1.002, "by 0.002 of its energy"),
        (lambda form, *inputs: right(form, *inputs).clamp(min=1e-9), "hit in one alone"),
        (lambda form, *inputs: right(form, *inputs) * math.nan, "by nan of its energy"),
    ):
        monkeypatch.setattr(Directed, "forward", wrong)
        ran = caloforge("export", run, "--target", "ddml", "-o", out)
        ran.refused(1, "x.pt: not written: golden shower 0 of", words)
        assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_does_not_fit_is_one_line(
    caloforge: Caloforge, saved: Callable[[Made], Path], tmp_path: Path
) -> None:
    run = saved(a_model("copula"))
    for target, name, words in (
        ("ddml", "x.onnx", "x.onnx: expected a name that ends in .pt"),
        ("onnx", "x.pt", "x.pt: expected a name that ends in .onnx"),
        ("par04", "x.onnx", "--target par04: expected rings"),
        ("ddml", "no/x.pt", "the folder"),
        ("keras", "x.pt", "--target"),
    ):
        caloforge("export", run, "--target", target, "-o", tmp_path / name).refused(2, words)
    caloforge("export", tmp_path / "nothing", "--target", "ddml", "-o", tmp_path / "x.pt").refused(
        2, "nothing", "a run folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    with pytest.raises(UsageError, match="target 'keras': expected one of native, onnx, par04, ddml"):
        export_model(*a_model("copula"), "keras", tmp_path / "x.pt")


def test_only_its_own_files_are_replaced(
    caloforge: Caloforge, saved: Callable[[Made], Path], tmp_path: Path
) -> None:
    run, out = saved(a_model("3dgan", SQUARE)), tmp_path / "x.pt"
    command = ("export", run, "--target", "ddml", "-o", out)
    (tmp_path / "x.xml").write_text("mine")
    caloforge(*command).refused(2, "x.xml: exists", "--overwrite replaces")
    assert (tmp_path / "x.xml").read_text() == "mine"
    assert caloforge(*command, "--overwrite").code == 0
    first = read_note(out)
    ran = caloforge(*command, "--json")
    assert ran.code == 0, ran.err
    assert read_note(out) == first
    result = json.loads(ran.out)
    assert result["beside"] == str(tmp_path / "x.xml")
    assert read_note(out)["command"].startswith("caloforge export")
    out.write_bytes(b"mine")
    caloforge(*command).refused(2, "x.pt: exists")


@pytest.mark.parametrize("content", [b"", b"PK\5\6" + 18 * b"\0", b"[1]"])
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_what_is_no_export_says_nothing_of_itself(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CaloforgeError, match="expected an exported file"):
        read_note(path)


def test_where_no_particle_is_passed_there_is_one(tmp_path: Path) -> None:
    """A model that tells electrons from photons is an electron's in DDML, and says so."""
    result = export_model(*a_model("copula", particles=True), "ddml", tmp_path / "x.pt")
    assert "ApplicableParticles=\"['e-']\"" in Path(result["beside"]).read_text()


class Undecided(Marked):
    """Does what no graph holds: its way depends on its numbers."""

    def forward(self, given: Given, noise_BL: Tensor) -> Tensor:
        """Return a shower, or another."""
        return super().forward(given, noise_BL if noise_BL.sum() > 0 else -noise_BL)


def test_a_model_that_no_graph_holds_is_one_line(tmp_path: Path) -> None:
    _, card = a_marked(PLANE)
    with pytest.raises(CaloforgeError) as told:
        export_model(Undecided(PLANE), card, "ddml", tmp_path / "x.pt")
    assert str(told.value).startswith("--target ddml: copula cannot be written as TorchScript: ")
    assert "\n" not in str(told.value)
    assert not [*tmp_path.iterdir()]


def test_a_model_without_finite_showers_is_not_written(tmp_path: Path) -> None:
    model, card = a_model("3dgan", SQUARE)
    with torch.no_grad():
        next(model.parameters()).mul_(math.nan)
    with pytest.raises(CaloforgeError, match=r"x\.pt: not written: .*not finite"):
        export_model(model, card, "ddml", tmp_path / "x.pt")
    assert not [*tmp_path.iterdir()]


def test_onnx_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(onnx_graph, "version", missing)
    with pytest.raises(MissingExtraError, match=r"--target onnx needs .*caloforge\[onnx\]"):
        export_model(*a_model("3dgan", SQUARE), "onnx", tmp_path / "x.onnx")
    assert export_model(*a_model("3dgan", SQUARE), "ddml", tmp_path / "x.pt")["bytes"] > 0


def test_every_target_is_an_option() -> None:
    from caloforge.cli.export import Target

    assert [target.value for target in Target] == list(targets.NAMES)
