"""libcaloforge makes the model's showers of the same noise; files that are not whole, or of another model, are noticed."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import PATIENCE_S, Caloforge
from export_samples import PLANE, Made, a_cylinder, a_model
from numpy.typing import NDArray

from caloforge.detector import Grid
from caloforge.export import native
from caloforge.export.containers import read_note
from caloforge.export.native import GOLDEN, export_native, native_bytes
from caloforge.export.native_library import BESIDE, NativeModel, library_path
from caloforge.export.targets import export_model
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.generation.engines.engine import installed, make_forward
from caloforge.generation.sampler import load, with_engine
from caloforge.models.base import ShowerModel
from caloforge.models.saved import ModelCard
from caloforge.showers import Conditions
from caloforge.showers.batch import Given

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("CALOFORGE_LIBRARY", raising=False)


def stirred(made: Made) -> Made:
    """Give a copula constants of all kinds, none of them zero."""
    model, card = made
    torch.manual_seed(1)
    with torch.no_grad():
        for name, values in (*model.named_parameters(), *model.named_buffers()):
            if name in ("core", "halo", "depth_laws") or name.startswith(("sum_", "energy_scale")):
                values.add_(0.03 * torch.randn_like(values))
            elif "cells_" in name or name.endswith(("sums_QMK", "neighbours_RZ")):
                values.add_(0.2 * torch.randn_like(values))
    model.get_buffer("spectrum_2").copy_(torch.tensor([10.0, 1.0]))
    model.prepare()
    return model, card


MODELS: dict[str, Callable[[], Made]] = {
    "plane": lambda: stirred(a_model("copula")),
    "tilted, with photons": lambda: stirred(a_model("copula", tilted=True, particles=True)),
    "cylinder": lambda: stirred(a_model("copula", a_cylinder())),
    "turned cylinder": lambda: stirred(on_axis(a_cylinder())),
    "no sizes": lambda: stirred(a_model("copula", replace(PLANE, cell_size=None))),
}


def on_axis(grid: Grid) -> Made:
    """Return a model of showers that all come along a cylinder's axis, and begin in a sector that is drawn."""
    card = replace(a_model("copula", grid)[1], impact_mm=((0.0, 0.0), (0.0, 0.0)))
    model = card.build().eval()
    assert getattr(model, "turned", False)
    return model, card


def some_conditions(model: ShowerModel, count: int) -> Conditions:
    rng = np.random.default_rng(2)
    follows = model.follows
    return Conditions.of(
        rng.uniform(6e3, 9e4, count),
        rng.uniform(1.2, 1.9, count) if "incident_theta" in follows else None,
        rng.uniform(-3, 3, count) if "incident_phi" in follows else None,
        rng.uniform(-4, 4, (count, 2)) if "impact_xy" in follows else None,
        rng.choice([11, 22], count) if "pdg_id" in follows else None,
    )


def require_same(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    """Require the same showers up to the rounding of single precision, which a threshold may turn into a hit."""
    assert got.shape == wanted.shape
    hits = np.count_nonzero(wanted)
    assert hits > 10 * len(wanted)
    assert np.count_nonzero((got > 0) != (wanted > 0)) <= 1
    apart_N = np.abs(got - wanted).sum((1, 2, 3)) / wanted.sum((1, 2, 3))
    assert (apart_N < 1e-4).all(), apart_N.max()
    both = (got > 0) & (wanted > 0)
    assert np.quantile(np.abs(got[both] / wanted[both] - 1), 0.99) < 1e-4


@pytest.mark.process
@pytest.mark.parametrize("name", MODELS)
def test_showers_are_the_models(name: str, native_library: Path, tmp_path: Path) -> None:
    model, card = MODELS[name]()
    result = export_model(model, card, "native", tmp_path / "x.caloforge")
    assert result["checked"].startswith(f"{GOLDEN} golden showers as the model's")
    forward, conditions = make_forward("native", model, 8), some_conditions(model, 70)
    wanted = model.sample(conditions, seed=5, first=3)
    require_same(model.sample(conditions, 5, 3, forward), wanted)
    one = model.sample(conditions[9:10], 5, 12, forward)
    np.testing.assert_array_equal(one[0], model.sample(conditions, 5, 3, forward)[9])
    # From noise, as other engines are asked.
    monkeyed = model.read_out(
        Given.tensors(conditions), model.noise(5, 3, 70), lambda g, n: forward(g, n)
    )
    require_same(monkeyed.numpy(), wanted)


@pytest.mark.process
@pytest.mark.parametrize("name", ["clic-ecal", "clic-ecal-angle", "calochallenge-2"])
def test_pretrained_showers_are_the_models(name: str, native_library: Path) -> None:
    generator = load(name)
    native_one, times = with_engine(generator, "auto")
    assert (native_one.engine, times) == ("native", {})
    energy = np.linspace(*generator.card.energy_MeV, 60)
    theta = np.linspace(*generator.card.theta_rad, 60)
    made, wanted = (one.generate(energy, theta, seed=2).deposits for one in (native_one, generator))
    require_same(made, wanted)


@pytest.mark.process
@torch.no_grad()
def test_the_program_checks_golden_showers_with_all_kernels(native_build: Path, tmp_path: Path) -> None:
    model, card = MODELS["plane"]()
    good, bad = tmp_path / "good.caloforge", tmp_path / "bad.caloforge"
    export_native(model, card, good)
    tensors = native._golden(model, card.domain)
    content = native_bytes(model, card)
    for kernels in ("baseline", "avx2", "avx512"):
        checked = run(native_build / "caloforge-check", good, CALOFORGE_KERNELS=kernels)
        assert (checked.returncode, checked.stderr) == (0, "")
        assert f"{GOLDEN} golden showers as the model's" in checked.stdout
    with torch.no_grad():
        model.get_parameter("sum_location").add_(0.01)
    model.prepare()
    other = native_bytes(model, card)
    deposits = tensors["golden.deposits_MeV"].numpy().tobytes()
    assert content.count(deposits) == 1
    assert deposits not in other
    texts = {"name": card.name, "format": native.FORMAT, "version": "1", "detector": "x", "card": "{}"}
    bad.write_bytes(native._file({**constants_of(model, card), **tensors}, texts))
    checked = run(native_build / "caloforge-check", good, bad)
    assert checked.returncode == 1
    assert re.fullmatch(rf"{bad}: golden shower \d+ of .* differs by .*\n", checked.stderr)
    bad.write_bytes(content[:-1])
    assert run(native_build / "caloforge-check", bad).stderr.count("\n") == 1
    assert run(native_build / "caloforge-check").returncode == 2


def constants_of(model: ShowerModel, card: ModelCard) -> dict[str, torch.Tensor]:
    return {**model.constants(), **native._range(card), **native._read_out(model)}


@pytest.mark.process
def test_tests_in_cpp_pass(native_build: Path) -> None:
    done = run("ctest", "--test-dir", native_build, "--output-on-failure")
    assert done.returncode == 0, done.stdout
    assert "100% tests passed" in done.stdout


@pytest.mark.process
def test_the_documents_program_compiles_against_what_is_installed(
    native_build: Path, tmp_path: Path
) -> None:
    text = (ROOT / "docs" / "native.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```cpp\n(.*?)```", text, re.DOTALL)
    assert program.count("\n") <= 14
    (tmp_path / "showers.cpp").write_text(program)
    model, card = MODELS["plane"]()
    export_native(model, card, tmp_path / "clic-ecal.caloforge")
    installed_in = native_build / "installed"
    line = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "showers.cpp", "-o", "showers"]
    line += [f"-I{installed_in}/include", f"-L{installed_in}/lib", "-lcaloforge"]
    subprocess.run(
        [*line, f"-Wl,-rpath,{installed_in}/lib"], check=True, cwd=tmp_path, timeout=PATIENCE_S
    )
    made = run("./showers", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    lines = [tuple(map(float, line.split())) for line in made.stdout.splitlines()]
    assert len(lines) > 20
    assert all(energy > 0 for *_, energy in lines)


def test_without_the_library_there_is_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, card = MODELS["plane"]()
    if not BESIDE.is_file():
        assert library_path() is None
    monkeypatch.setenv("CALOFORGE_LIBRARY", "")
    assert "native" not in installed()
    with pytest.raises(UsageError, match=r"^--engine native: libcaloforge is not there"):
        make_forward("native", model, 1)
    with pytest.raises(UsageError, match="CALOFORGE_LIBRARY"):
        NativeModel(tmp_path / "x.caloforge")
    result = export_native(model, card, tmp_path / "x.caloforge")
    assert result["checked"] == "read again; libcaloforge is not there"
    monkeypatch.setenv("CALOFORGE_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(UsageError, match=r"^CALOFORGE_LIBRARY: .*none.so: no such file$"):
        installed()
    monkeypatch.setenv("CALOFORGE_LIBRARY", str(tmp_path / "x.caloforge"))
    with pytest.raises(CaloforgeError, match=r"x.caloforge: cannot be loaded as libcaloforge"):
        make_forward("native", model, 1)


def test_a_file_is_found_damaged_wherever_it_changed(native_library: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.caloforge"
    export_native(*MODELS["plane"](), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in (0, 7, 8, 100, len(whole) - 1, *rng.integers(0, len(whole), 30)):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(CaloforgeError) as told:
            NativeModel(path)
        assert str(told.value).startswith(f"{path}: ")
        assert "\n" not in str(told.value)


def test_a_damaged_file_in_the_cache_is_made_again(native_library: Path) -> None:
    model, _ = MODELS["plane"]()
    make_forward("native", model, 1)
    (kept,) = (Path(os.environ["CALOFORGE_CACHE"]) / "native").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + b"x")
    make_forward("native", model, 1)
    assert kept.read_bytes() == whole


def test_other_models_are_refused_in_a_line(
    native_library: Path, caloforge: Caloforge, saved: Callable[[Made], Path], tmp_path: Path
) -> None:
    made = a_model("3dgan", replace(PLANE, shape=(9, 9, 6)))
    run_folder = saved(made)
    out = tmp_path / "x.caloforge"
    refused = "libcaloforge makes showers of a copula alone"
    caloforge("export", run_folder, "--target", "native", "-o", out).refused(2, refused)
    command = ("--events", 2, "--energy", 50, "--engine", "native", "-o", tmp_path / "x.h5")
    caloforge("generate", run_folder, *command).refused(2, refused)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_export_says_what_it_is_and_is_its_own_commands(
    caloforge: Caloforge, saved: Callable[[Made], Path], tmp_path: Path
) -> None:
    run_folder, out = saved(a_model("copula")), tmp_path / "x.caloforge"
    command = ("export", run_folder, "--target", "native", "-o", out)
    assert caloforge(*command).code == 0
    note = read_note(out)
    assert note["command"].startswith("caloforge export")
    assert (note["units"], note["format"]) == ("MeV, mm, rad", "caloforge-native")
    assert '"threshold_MeV": 0.01' in note["card"]
    assert caloforge(*command).code == 0
    out.write_bytes(b"mine")
    caloforge(*command).refused(2, "x.caloforge: exists")
    caloforge("export", run_folder, "--target", "native", "-o", tmp_path / "x.onnx").refused(
        2, "x.onnx: expected a name that ends in .caloforge"
    )


def test_a_model_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    model, card = a_model("copula")
    with torch.no_grad():
        model.get_parameter("core").mul_(math.nan)
    model.prepare()
    with pytest.raises(CaloforgeError, match="finite"):
        export_native(model, card, tmp_path / "x.caloforge")
    assert not [*tmp_path.iterdir()]


def run(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    assert shutil.which(str(words[0])) or cwd
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        cwd=cwd, env={**os.environ, **environment},
    )  # fmt: skip
