"""The likelihood of the factor copula: each term by hand, and known factors found again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import PATIENCE_S, MadeOnce
from launchers import srun
from scipy import stats

from caloforge.detector import Grid
from caloforge.files.shipped import shipped_showers
from caloforge.files.tensors import load_tensors
from caloforge.foundations.errors import UsageError
from caloforge.models.copula.factors import Told, factor_loss, normal_below
from caloforge.models.copula.fit import LikelihoodObjective
from caloforge.models.copula.model import FactorCopula, depth
from caloforge.models.shared.layer_shares import log_shares
from caloforge.showers import Conditions
from caloforge.showers.batch import Batch, Given
from caloforge.training.config import load_config
from caloforge.training.trainer import train

GRID = Grid("block", (7, 7, 3), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)
BATCH = 64


def batch_of(model: FactorCopula, first: int = 0, size: int = BATCH) -> Batch:
    energy = np.linspace(5e4, 2e5, size, dtype=np.float32)
    theta = np.linspace(1.2, 1.9, size, dtype=np.float32) if model.tilted else None
    phi = np.linspace(-3, 3, size, dtype=np.float32)
    conditions = Conditions.of(energy, theta, phi if model.tilted else None)
    deposits = model.eval().sample(conditions, seed=8, first=first)
    return Batch(torch.from_numpy(deposits), Given.tensors(conditions))


def a_detector(*, tilted: bool = False) -> FactorCopula:
    """Return a model to draw showers from: two strong factors, cells that are hit less far from the axis."""
    torch.manual_seed(1)
    model = FactorCopula(GRID, 0.0, tilted=tilted, factors=2)
    frame, monomials = model.frame, model.n_monomials
    radius_O1 = torch.from_numpy(frame.radius).float()[:, None].expand(-1, 3)
    field = torch.stack([0.8 * radius_O1 - 2, 6 - radius_O1, -0.5 + 0 * radius_O1], -1)
    core, halo = frame.project(field)
    with torch.no_grad():
        model.core[..., [0, monomials, 2 * monomials]] = core
        model.halo[..., [0, monomials, 2 * monomials]] = halo
        model.core[..., 1] = -0.3  # more hits at higher energies
        model.sum_location[0] = torch.tensor([math.log(0.02), *[math.log(1 / 3)] * 3])
        model.sum_log_width[0] = -2.5
        model.spectrum_2.copy_(torch.tensor([11.5, 0.4]))
        model.correlations.cells_core.normal_(0, 0.45)
        model.correlations.cells_halo.zero_()
        model.correlations.energies_Q.copy_(torch.linspace(-1.8, 1.8, 6))
    return model


@pytest.mark.parametrize("tilted", [False, True])
def test_the_loss_is_minus_the_log_likelihood_cell_by_cell(tilted: bool) -> None:
    truth = a_detector(tilted=tilted)
    batch = batch_of(truth, size=6)
    objective = LikelihoodObjective(truth, batch, 10**9)
    (loss_step,) = objective.losses(batch)
    truth.requires_grad_(False)
    place = truth.frame.place(batch.given)
    given_BJ = truth.of_shower(batch.given)
    depth_B = depth(batch.deposits_BXYZ)
    location_B, log_width_B, skew_B, log_tail_B = truth.depth_marginal(given_BJ)
    assert not skew_B.any()
    assert not log_tail_B.any()
    depth_B = (depth_B - location_B) / torch.exp(log_width_B)
    monomials_BZF = truth.conditions(batch.given, place, depth_B)
    marginals = truth.marginals(monomials_BZF)
    cells_BC, inside_BC = truth.frame.cells(place)
    total = 0.0
    for b, deposits in enumerate(batch.deposits_BXYZ.flatten(1).tolist()):
        places = zip(deposits, cells_BC[b].tolist(), inside_BC[b].tolist(), strict=True)
        for deposit, c in ((deposit, cell) for deposit, cell, inside in places if inside):
            threshold = float(marginals.threshold_BC[b, c])
            if deposit == 0:
                total -= stats.norm.logcdf(threshold)
                continue
            width = math.exp(marginals.log_width_BC[b, c])
            x = (math.log(deposit) - float(marginals.location_BC[b, c])) / width
            assert float(marginals.skew_C[c]) == 0
            assert float(marginals.log_tail_C[c]) == 0
            total -= stats.norm.logsf(threshold) + stats.norm.logpdf(x) - math.log(width)
            total -= 0.5 * math.log(2 * math.pi)  # a constant that the loss leaves out
    assert float(loss_step.terms["generator.cells"]) == pytest.approx(total / 6, rel=1e-4)
    location_BM, log_width_BM, skew_BM, log_tail_BM = truth.sum_marginals(monomials_BZF[:, 0], given_BJ)
    assert not skew_BM.any()
    assert not log_tail_BM.any()
    x_BM = (log_shares(batch.deposits_BXYZ, batch.given.energy_B) - location_BM) / torch.exp(
        log_width_BM
    )
    expected = (0.5 * x_BM**2 + log_width_BM).sum(1).mean() + (0.5 * depth_B**2 + log_width_B).mean()
    assert float(loss_step.terms["generator.layers"]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.training
def test_marginals_and_factors_are_found_again() -> None:
    truth = a_detector()
    first = batch_of(truth, size=1000)
    model = FactorCopula(GRID, 0.0, factors=2)
    objective = LikelihoodObjective(model, first, 16_000)
    optimizer = objective.optimizer(model, 0.02)
    for step in range(250):
        for loss_step in objective.losses(batch_of(truth, first=1000 + BATCH * step)):
            optimizer.zero_grad()
            loss_step.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    made, real = batch_of(model, size=4000), batch_of(truth, size=4000)
    hits_made, hits_real = ((b.deposits_BXYZ > 0).flatten(1).sum(1).double() for b in (made, real))
    assert float(hits_made.mean() / hits_real.mean()) == pytest.approx(1, abs=0.02)
    assert float(hits_made.std() / hits_real.std()) == pytest.approx(1, abs=0.1)
    # W itself is known up to a rotation of the factors; W W^T is not.
    cells = [m.cell_loadings() for m in (model, truth)]
    loadings = [c.loadings_NK * c.amplitude_QN[2:4].mean(0)[:, None] for c in cells]
    common_CC, expected_CC = (loadings_CK @ loadings_CK.T for loadings_CK in loadings)
    core = truth.frame.inner.repeat_interleave(3) * 3 + torch.arange(3).repeat(len(truth.frame.inner))
    found, wanted = common_CC[core][:, core].flatten(), expected_CC[core][:, core].flatten()
    assert torch.corrcoef(torch.stack([found, wanted]))[0, 1].item() > 0.9
    slope = (found * wanted).sum() / (wanted * wanted).sum()
    assert slope.item() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    ("limit", "mean", "spread"), [(0.5, -0.3, 0.6), (-2.0, 0.4, 0.9), (6.0, 0.0, 1.0)]
)
def test_hidden_latents_are_normal_below_their_limit(limit: float, mean: float, spread: float) -> None:
    uniform = torch.rand(50_000, generator=torch.Generator().manual_seed(3))
    drawn = normal_below(torch.full((50_000,), limit), torch.tensor(mean), torch.tensor(spread), uniform)
    law = stats.truncnorm(-np.inf, (limit - mean) / spread, loc=mean, scale=spread)
    assert float(drawn.max()) < limit + 1e-3
    assert stats.kstest(drawn.numpy(), law.cdf).pvalue > 1e-3


def test_the_loss_of_the_loadings_is_that_of_a_joint_normal() -> None:
    """Up to what total and shares alone contribute: their own density given no cells, and factors of two pi."""
    torch.manual_seed(2)
    model, n, showers = a_detector(), 12, 9
    model.correlations.sums_QMK.normal_(0, 0.3)
    cells, sums = model.cell_loadings().of(torch.arange(n) * 5), model.correlations.of_sums()
    near_B = torch.arange(showers) % 6
    latent_BN, sums_BM = torch.randn(showers, n), torch.randn(showers, 4)
    nothing = torch.zeros(0, dtype=torch.int64)
    told = Told(torch.zeros(showers, n), None, nothing, nothing, sums_BM, near_B)
    expected = 0.0
    for latent, sums_M, q in zip(latent_BN, sums_BM, near_B.tolist(), strict=True):
        whole_QK = torch.cat([cells.amplitude_QN[q, :, None] * cells.loadings_NK, sums.loadings_QMK[q]])
        covariance = (whole_QK @ whole_QK.T).double().detach()
        covariance[:n, :n] += torch.diag(cells.own_QN[q]).detach()
        covariance[n:, n:] += sums.rest_QMM[q]
        expected -= stats.multivariate_normal(cov=covariance.numpy()).logpdf(torch.cat([latent, sums_M]))
        rest = stats.multivariate_normal(cov=sums.rest_QMM[q].double().numpy())
        expected += rest.logpdf(sums_M)
        expected -= 0.5 * n * math.log(2 * math.pi)
    found = factor_loss(told, cells, sums, latent_BN)
    assert found.item() == pytest.approx(float(expected) / showers, rel=1e-4)


@pytest.fixture(scope="module")
def seven_steps(small_showers: Path, made_once: MadeOnce) -> Path:
    config = load_config(settings=SETTINGS)
    return made_once("copula-seven-steps", lambda run: train(config, [small_showers], run))


SETTINGS = ["model=copula", "batch_size=8", "check_showers=4", "max_steps=7"]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_tensors(max((run / "checkpoints").iterdir()))[0]


@pytest.mark.training
def test_a_run_goes_on_exactly_moments_included(
    seven_steps: Path, small_showers: Path, tmp_path: Path
) -> None:
    train(load_config(settings=[*SETTINGS, "max_steps=3"]), [small_showers], tmp_path / "run")
    train(load_config(settings=SETTINGS), [small_showers], tmp_path / "run", resume=True)
    expected, found = weights_of(seven_steps), weights_of(tmp_path / "run")
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert int(found["generator.correlations.steps_seen"]) == 7


@pytest.mark.process
def test_two_workers_keep_the_same_moments(small_showers: Path, tmp_path: Path) -> None:
    """Before its checkpoint a run compares all that the workers hold, to the bit."""
    run = tmp_path / "run"
    settings = [*SETTINGS, "batch_size=4", "learning_rate=0.005"]
    options = [part for setting in settings for part in ("--set", setting)]
    workers = srun(2, "train", "--data", small_showers, "--out", run, *options)
    (out, err), _ = (worker.communicate(PATIENCE_S) for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0], err
    assert "mean profiles" in out
    covariance_QMM = weights_of(run)["generator.correlations.covariance_QMM"]
    assert not torch.equal(covariance_QMM[0], torch.eye(len(covariance_QMM[0])))


def test_its_settings_are_its_own_unless_somebody_says_otherwise() -> None:
    config = load_config(settings=["model=copula", "learning_rate=0.003"])
    assert (config.learning_rate, config.schedule, config.augment) == (0.003, "cosine", "all")
    assert load_config(settings=["model=3dgan"]).schedule == "constant"


@pytest.mark.training
def test_minutes_of_training_make_showers_like_geant4_s(tmp_path: Path) -> None:
    """On shipped showers: sampling fraction and mean profiles, after a tenth of the usual epochs."""
    showers = shipped_showers("train")
    settings = ["model=copula", "epochs=6", "check_showers=60"]
    figures = train(load_config(settings=settings), [showers], tmp_path / "run")["best"]
    assert figures["sampling_fraction_error"] < 0.03
    assert max(figures[f"shape_{axis}_error"] for axis in "xyz") < 0.1


@pytest.mark.training
@pytest.mark.parametrize("setting", ["precision=bf16", "objective.label_flips=0.1"])
def test_a_setting_of_adversarial_training_is_refused(setting: str) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(UsageError, match=f"^setting {name}: copula has no such setting, only"):
        load_config(settings=[*SETTINGS, setting])


@pytest.mark.training
def test_a_checkpoint_holds_no_constants(seven_steps: Path) -> None:
    assert not [name for name in weights_of(seven_steps) if "frame." in name]
