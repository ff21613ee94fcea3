"""Weights of one copula begin another: the same functions on the same detector, what corresponds on others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import PATIENCE_S, Caloforge, MadeOnce
from launchers import srun
from torch import Tensor

from caloforge.detector import Grid
from caloforge.files.shipped import pretrained_weights
from caloforge.files.tensors import load_tensors
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.models.copula.axis_frame import Place
from caloforge.models.copula.model import FactorCopula
from caloforge.models.copula.transfer import take_over
from caloforge.models.saved import read_card
from caloforge.showers.batch import Given
from caloforge.training.begin import initialise_from
from caloforge.training.config import load_config
from caloforge.training.trainer import train

GRID = Grid("block", (13, 13, 5), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)
CYLINDER = Grid("drum", (6, 8, 5), axes=("r", "phi", "layer"))


def copula(grid: Grid = GRID, *, seed: int, tilted: bool = False) -> FactorCopula:
    """Make a model in which no number is that of another one."""
    torch.manual_seed(seed)
    model = FactorCopula(grid, 0.0, tilted=tilted, factors=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
        model.spectrum_2.copy_(torch.tensor([11.0 + 0.3 * seed, 0.5 + 0.2 * seed]))
        model.slope_spread.fill_(0.1 * seed)
        model.correlations.steps_seen.fill_(1000 * seed)
        model.correlations.sums_QMK.normal_(0, 0.1)
    return model


def marginals_at(model: FactorCopula, *, showers: int = 7) -> tuple[Tensor, ...]:
    """Evaluate all marginals at some energies, angles and impact points."""
    torch.manual_seed(5)
    layers = model.grid.n_layers
    still_BZ = torch.zeros(showers, layers, dtype=torch.long)
    offsets = (torch.rand(showers, layers) - 0.5, torch.rand(showers, layers) - 0.5)
    place = Place(still_BZ, still_BZ, *offsets, moves=False)
    angles = 1.2 + 0.7 * torch.rand(showers), 6 * torch.rand(showers)
    given = Given.of(1e4 * 50 ** torch.rand(showers), *angles)
    monomials_BZF = model.conditions(given, place, torch.randn(showers))
    given_BJ = model.of_shower(given)
    marginals = model.marginals(monomials_BZF)
    deposits = model.energy_scale(torch.linspace(-5, 5, 50), torch.arange(50) % 5)
    return (
        *vars(marginals).values(),
        *model.sum_marginals(monomials_BZF[:, 0], given_BJ),
        *deposits,
        *model.depth_marginal(given_BJ),
    )


@pytest.mark.parametrize("tilted", [False, True])
def test_on_the_same_detector_all_marginals_stay_the_same_functions(tilted: bool) -> None:
    given, model = copula(seed=1, tilted=tilted), copula(seed=2, tilted=tilted)
    model.largest_R.fill_(1.0)
    take_over(model, given)
    for found, expected in zip(marginals_at(model), marginals_at(given), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for found, expected in zip(
        (*model.cell_loadings(), *model.correlations.of_sums()),
        (*given.cell_loadings(), *given.correlations.of_sums()),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)
    assert (model.largest_R == 1).all()  # which the new showers tell
    assert int(model.correlations.steps_seen) == 1000  # and factors known as well as before


def test_another_material_keeps_its_own_constants_and_takes_the_rest() -> None:
    given = copula(seed=1)
    model = copula(replace(GRID, name="other"), seed=2)
    with torch.no_grad():
        for one in (given, model):
            one.sum_location[0] = -2.0  # each layer has the same energy: layers correspond one to one
        given.spectrum_2.copy_(model.spectrum_2)
    constants = [k * model.n_monomials for k in range(3)]
    own, scale = model.core[..., constants].clone(), model.energy_scale.log_slope.clone()
    marginals = ("sum_location", "sum_log_width", "sum_skew", "sum_log_tail")
    with torch.no_grad():
        for name in marginals:
            getattr(given, name)[1:] = 0.5
    total = model.sum_location[0, 0].clone()
    take_over(model, given)
    # Of the total deposit, whose law is the material's, nothing; of the layers' shares all.
    assert model.sum_location[0, 0] == total
    for name in marginals:
        law = getattr(model, name)
        assert (law[1:, 0] == 0).all()
        torch.testing.assert_close(law[1:, 1:], torch.full_like(law[1:, 1:], 0.5))
    assert (model.correlations.covariance_QMM[:, 0, 0] == 1).all()
    assert torch.equal(model.core[..., constants], own)
    assert torch.equal(model.energy_scale.log_slope, scale)
    rest = [k for k in range(model.core.shape[2]) if k not in constants]
    torch.testing.assert_close(model.core[..., rest], given.core[..., rest], rtol=1e-4, atol=1e-4)
    loadings = [m.correlations.loadings(m.frame) for m in (model, given)]
    torch.testing.assert_close(*loadings, rtol=1e-3, atol=1e-4)
    assert int(model.correlations.steps_seen) < 100  # so that what is new is learned soon


def test_on_another_grid_cells_correspond_by_place_and_layers_by_deposited_energy() -> None:
    given = copula(seed=1)
    model = copula(Grid("finer", (9, 17, 10), cell_size=(5.0, 5.0)), seed=2)
    with torch.no_grad():
        given.sum_location[0], model.sum_location[0] = -2.0, -3.0
        given.spectrum_2.copy_(model.spectrum_2)
        given.core[..., 1] = torch.arange(5.0)  # how thresholds change with energy tells the layer
        given.correlations.cells_core.normal_(0, 0.2)
    take_over(model, given)
    # Ten layers for five: each one's middle lies a quarter of a layer off those of the others.
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4])
    torch.testing.assert_close(model.core[0, :, 1], expected, rtol=1e-4, atol=1e-4)
    centre = int((model.frame.radius[model.frame.inner] == 0).nonzero()[0][0])
    loadings = [m.correlations.cells_core[centre, -1] for m in (model, given)]
    torch.testing.assert_close(*loadings)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert torch.linalg.eigvalsh(model.correlations.of_sums().rest_QMM.double()).min() > 0


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        (
            copula(seed=1, tilted=True),
            copula(seed=1),
            "expected weights that follow impact_xy, incident_phi, incident_theta, got some that follow impact_xy",
        ),
        (copula(seed=1), copula(CYLINDER, seed=1), "axes x, y, z, got some for r, phi, layer"),
        (
            copula(CYLINDER, seed=1),
            copula(replace(CYLINDER, shape=(6, 9, 5)), seed=1),
            "6 x 8 cells across, got some for 6 x 9",
        ),
    ],
)
def test_what_does_not_correspond_is_refused(new: FactorCopula, old: FactorCopula, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        take_over(new, old)


SETTINGS = ["model=copula", "batch_size=8", "check_showers=4", "seed=2"]


@pytest.fixture(scope="module")
def first(small_showers: Path, made_once: MadeOnce) -> Path:
    config = load_config(settings=[*SETTINGS, "max_steps=4"])
    return made_once("copula-four-steps", lambda run: train(config, [small_showers], run))


def weights_of(run: Path, step: int) -> dict[str, Tensor]:
    (path,) = (run / "checkpoints").glob(f"step-*{step:04d}.safetensors")
    return load_tensors(path)[0]


@pytest.mark.training
def test_a_run_begins_with_another_s_model_and_goes_on_exactly(
    first: Path, small_showers: Path, tmp_path: Path
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(load_config(settings=[*SETTINGS, "max_steps=4"]), [small_showers], whole, init_from=[first])
    given = load_tensors(first / "model.safetensors")[0]
    begun = weights_of(whole, 0)
    for name in ("core", "correlations.cells_core", "correlations.sums_QMK", "correlations.steps_seen"):
        torch.testing.assert_close(begun[f"generator.{name}"], given[name], rtol=1e-4, atol=1e-4)
    train(load_config(settings=[*SETTINGS, "max_steps=2"]), [small_showers], halves, init_from=[first])
    train(load_config(settings=[*SETTINGS, "max_steps=4"]), [small_showers], halves, resume=True)
    expected, found = weights_of(whole, 4), weights_of(halves, 4)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.process
def test_two_workers_begin_with_the_same_weights(
    first: Path, small_showers: Path, tmp_path: Path
) -> None:
    """Before a checkpoint a run compares all that the workers hold, to the bit; nobody names the model."""
    run = tmp_path / "run"
    options = [part for text in (*SETTINGS[1:], "max_steps=2") for part in ("--set", text)]
    workers = srun(2, "train", "--data", small_showers, "--out", run, "--init-from", first, *options)
    (_, err), _ = (worker.communicate(PATIENCE_S) for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0], err
    assert json.loads((run / "model.json").read_text())["name"] == "copula"
    given = load_tensors(first / "model.safetensors")[0]
    torch.testing.assert_close(weights_of(run, 0)["generator.core"], given["core"], rtol=1e-4, atol=1e-4)


@pytest.mark.training
def test_weights_of_another_kind_of_model_are_refused(small_showers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["model=3dgan", "max_steps=1", "batch_size=4", "check_showers=2"]
    train(load_config(settings=settings), [small_showers], run)
    with pytest.raises(
        UsageError, match=r"^--init-from .*run: expected weights of a copula, got those of 3dgan"
    ):
        initialise_from("copula", [run], {"generator": copula(seed=1)})
    with pytest.raises(CaloforgeError, match=r"^--init-from .*none: expected a run folder"):
        initialise_from("copula", [tmp_path / "none"], {"generator": copula(seed=1)})


@pytest.mark.training
def test_pretrained_weights_are_named_instead_of_a_model(
    small_showers: Path, caloforge: Caloforge, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    short = ["--set", "max_steps=1", "--set", "batch_size=4", "--set", "check_showers=2"]
    ran = caloforge("train", "--data", small_showers, "--out", run, "--init-from", "clic-ecal", *short)
    assert ran.code == 0, ran.err
    assert read_card(run).name == "copula"
    assert str(pretrained_weights()["clic-ecal"]) in (run / "config.yaml").read_text()
