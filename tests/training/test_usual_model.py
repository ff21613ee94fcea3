"""Where nobody names a model, the best one for the kind of data is taken, and said in one line."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from commands import Caloforge

import caloforge as cf
from caloforge.detector import Grid
from caloforge.detector.grid import CYLINDRICAL
from caloforge.foundations.errors import UsageError
from caloforge.models.registry import MODELS
from caloforge.showers import Domain
from caloforge.training.begin import _require_followed, usual_model
from caloforge.training.run_folder import RunFolder

SIZED = Grid("sized", (5, 5, 6), cell_size=(5.1, 5.1), layer_pitch_mm=3.5)
BARE = Grid("bare", (5, 5, 6))
ROUND = Grid("round", (3, 4, 5), CYLINDRICAL)


def a_file(folder: Path, grid: Grid, *degrees: float, name: str = "x.h5") -> Path:
    theta = np.radians(np.array(degrees, np.float32))
    n = len(theta)
    deposits = np.ones((n, *grid.shape), np.float32)
    cf.write(folder / name, cf.Showers(deposits, np.full(n, 5e4, np.float32), theta, grid))
    return folder / name


@pytest.mark.parametrize(
    ("grid", "degrees", "model"),
    [
        (SIZED, (90, 90), "copula"),
        (SIZED, (89.6, 90.4), "copula"),
        (BARE, (90, 90), "copula"),
        (ROUND, (90, 90), "copula"),
        (SIZED, (), "copula"),
        (SIZED, (60, 120), "copula"),
        (SIZED, (88, 91), "copula"),
        (SIZED, (45, 90), "copula"),
        (BARE, (60, 120), "3dgan-angle"),  # an axis cannot be followed through cells of no size
        (ROUND, (60, 120), "3dgan-angle"),
    ],
)
def test_the_best_model_that_can_serve_is_taken(
    tmp_path: Path, grid: Grid, degrees: tuple[float, ...], model: str
) -> None:
    name, said = usual_model([a_file(tmp_path, grid, *degrees)])
    assert name == model
    assert said.startswith(f"model: {model}, ")
    assert "--model" in said


def test_all_files_count(tmp_path: Path) -> None:
    files = [a_file(tmp_path, BARE, angle, name=f"{angle}.h5") for angle in (90, 80)]
    assert usual_model(files)[0] == "3dgan-angle"
    assert usual_model(files[:1])[0] == "copula"


def test_weights_of_keras_are_those_of_a_published_network(tmp_path: Path) -> None:
    weights = tmp_path / "weights.hdf5"
    weights.touch()
    assert usual_model([a_file(tmp_path, SIZED, 90)], [weights])[0] == "3dgan"
    assert usual_model([a_file(tmp_path, SIZED, 60, 90)], [weights])[0] == "3dgan-angle"
    assert usual_model([a_file(tmp_path, SIZED, 90)], [tmp_path])[0] == "copula"


@pytest.mark.parametrize(
    ("model", "domain", "why"),
    [
        (
            "3dgan-angle",
            Domain((1e3, 1e4), (1.2, 1.9), (0.0, 6.2)),
            "azimuth phi, got showers at 0 to 355",
        ),
        ("copula", Domain((1e3, 1e4), (1.2, 1.9), (0.0, 6.2)), None),
        ("3dgan", Domain((1e3, 1e4), pdg_ids=(11, 22)), "particles apart: e-, gamma"),
        ("3dgan", Domain((1e3, 1e4), pdg_ids=(-11, 11)), None),
        ("copula", Domain((1e3, 1e4), pdg_ids=(-11, 11, 22)), None),
        ("copula", Domain((1e3, 1e4), pdg_ids=(11, 22, 111)), "particles apart: e-, gamma, pi0"),
        ("copula", Domain((1e3, 1e4), pdg_ids=(11, 111)), "particles apart: e-, pi0"),
    ],
)
def test_what_a_model_does_not_tell_apart_is_refused(
    model: str, domain: Domain, why: str | None
) -> None:
    built = MODELS[model].build(SIZED, 0.0, domain=domain)
    if why is None:
        _require_followed(model, built, domain)
        return
    with pytest.raises(UsageError, match=f"data: {model} does not .*{why}"):
        _require_followed(model, built, domain)


def test_what_is_no_shower_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.h5: no such file"):
        usual_model([tmp_path / "none.h5"])


@pytest.mark.training
def test_train_says_which_model_it_is_and_ends_with_a_table(
    small_showers: Path, caloforge: Caloforge, tmp_path: Path, own_cache: None
) -> None:
    short = ["--set", "max_steps=2", "--set", "batch_size=8", "--set", "check_showers=4"]
    ran = caloforge("train", "--data", small_showers, "-o", tmp_path / "run", *short)
    assert ran.code == 0, ran.err
    assert ran.err.startswith(
        "model: copula, the usual one for showers at one angle; --model takes another\n"
    )
    assert ran.err.splitlines()[-1].startswith("train: 2/2  100 %")
    assert RunFolder(tmp_path / "run").read_config()[0]["model"] == "copula"
    title, *rows = ran.out.splitlines()
    assert title == str(tmp_path / "run")
    assert rows[0].split(maxsplit=1) == ["trained", "2 steps, 0.333 epochs"]
    assert rows[1].split(maxsplit=1) == ["model", "copula, weights of step 2"]
    assert not any("0000" in row or "e-" in row for row in rows)
    again = caloforge("train", "-o", tmp_path / "run", "--resume")
    assert again.code == 0, again.err
    assert "already finished after step 2" in again.err
    assert "steps/s" not in again.err


def test_a_right_angle_in_single_precision_is_one_angle(tmp_path: Path) -> None:
    assert abs(math.pi / 2 - float(np.float32(math.pi / 2))) > 0
    assert usual_model([a_file(tmp_path, SIZED, 90)])[0] == "copula"
