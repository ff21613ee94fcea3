"""The factor copula as a generator: marginals hold in every cell, sums in every layer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from caloforge.detector import Grid
from caloforge.models.copula.conditions import monomial_names
from caloforge.models.copula.marginals import latent_above
from caloforge.models.copula.model import FactorCopula
from caloforge.models.shared.layer_shares import SMALLEST_SHARE, log_shares
from caloforge.showers import Conditions
from caloforge.showers.batch import Given

GRID = Grid("block", (9, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)


def some_model(grid: Grid = GRID, *, tilted: bool = False, loadings: float = 0.1) -> FactorCopula:
    torch.manual_seed(4)
    model = FactorCopula(grid, 0.0, tilted=tilted, factors=5)
    names = monomial_names(tilted=tilted, particles=False)
    with torch.no_grad():
        for coefficients in (model.core, model.halo):
            coefficients.normal_(0, 0.2)
            for k, name in enumerate(names):
                if "d" in name:  # what a shower's depth changes is not looked at
                    coefficients[..., k : 3 * len(names) : len(names)] = 0
            coefficients[..., model.n_monomials :] *= 0.2  # no deposit so small that it is none
            coefficients[..., model.n_monomials] = 5.0  # the mean of ln(deposit / MeV)
        shared = model.correlations
        for moments in (shared.cells_core, shared.cells_halo, shared.sums_QMK):
            moments.normal_(0, loadings)
        model.sum_location[0, 0] = math.log(0.02)
        model.sum_location[0, 1:] = math.log(0.25)
        model.sum_log_width[0] = -3.0
        model.spectrum_2.copy_(torch.tensor([11.0, 0.5]))
    return model.eval()


@pytest.mark.parametrize("tilted", [False, True])
def test_showers_depend_on_seed_and_number_alone(tilted: bool) -> None:
    model = some_model(tilted=tilted)
    angles = np.linspace(1.2, 1.9, 7) if tilted else None
    conditions = Conditions.of(np.linspace(5e4, 2e5, 7), angles)
    whole = model.sample(conditions, seed=3)
    parts = [model.sample(conditions[part], 3, part.start) for part in (slice(0, 3), slice(3, 7))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-4)
    assert (whole >= 0).all()
    assert not np.array_equal(whole, model.sample(conditions, seed=4))


def test_layers_have_the_energies_that_were_drawn() -> None:
    model = some_model()
    deposits = model.sample(Conditions.of(np.full(400, 1e5)), seed=1)
    values = log_shares(torch.from_numpy(deposits), torch.full((400,), 1e5))
    assert float(values[:, 0].mean()) == pytest.approx(math.log(0.02), abs=0.02)
    assert float(values[:, 0].std()) == pytest.approx(math.exp(-3.0), rel=0.15)
    np.testing.assert_allclose((torch.exp(values[:, 1:]) - SMALLEST_SHARE).sum(1), 1, rtol=1e-4)


def test_a_cell_is_hit_as_often_as_its_threshold_says() -> None:
    """Also with strong factors: scores have unit variance however much of it is shared."""
    model, count = some_model(loadings=0.5), 4000
    deposits = model.sample(Conditions.of(np.full(count, math.exp(11.0))), seed=2)
    given = Given.of(torch.tensor([math.exp(11.0)]))
    place = model.frame.place(given)
    marginals = model.marginals(model.conditions(given, place, torch.zeros(1)))
    expected = torch.special.ndtr(-marginals.threshold_BC[0]).detach().numpy()
    found = (deposits > 0).mean(0).reshape(-1)
    error = np.sqrt((expected * (1 - expected) + 1 / count) / count)
    assert np.abs((found - expected) / error).max() < 4.5


def test_scores_share_what_the_loadings_say() -> None:
    model = some_model(loadings=0.4)
    cells = model.cell_loadings()
    common_C = (cells.loadings_NK**2).sum(1)
    whole_QC = cells.amplitude_QN**2 * common_C + cells.own_QN
    torch.testing.assert_close(whole_QC, torch.ones_like(whole_QC))
    assert cells.own_QN.min() > 0.009
    loadings_QMK, rest_QMM = model.correlations.of_sums()
    covariance_QMM = loadings_QMK @ loadings_QMK.mT + rest_QMM
    torch.testing.assert_close(
        covariance_QMM.diagonal(dim1=1, dim2=2), torch.ones(len(rest_QMM), model.sums)
    )
    assert torch.linalg.eigvalsh(rest_QMM).min() > 0


def test_cells_are_tied_more_closely_at_energies_where_their_marginals_are_narrower() -> None:
    """With a power of 1 what is common of ln(deposit) stays: the loading times the width is the same at all energies."""
    model = some_model(loadings=0.1)
    with torch.no_grad():
        for coefficients in (model.core, model.halo):
            coefficients[..., 2 * model.n_monomials :] = 0
            coefficients[..., 2 * model.n_monomials + 1] = -0.3  # log width by ln E
        model.core[..., : model.n_monomials] = 0
        model.core[..., 0] = -9.0  # those near the axis are always hit
        model.correlations.power.fill_(1.0)
    energy_Q = model.correlations.energies_Q
    amplitude_QC = model.cell_loadings().amplitude_QN
    amplitude_QC = amplitude_QC.view(6, -1, 4)[:, model.frame.inner].flatten(1)
    expected_QC = torch.exp(0.3 * (energy_Q - energy_Q.mean()))[:, None].expand_as(amplitude_QC)
    torch.testing.assert_close(amplitude_QC, expected_QC)
    at_QQ = model.correlations.at(energy_Q)
    torch.testing.assert_close(at_QQ, torch.eye(len(energy_Q)), rtol=0, atol=1e-5)
    beyond_2Q = model.correlations.at(torch.tensor([-99.0, 99.0]))
    torch.testing.assert_close(beyond_2Q, at_QQ[[0, -1]], rtol=0, atol=1e-5)


def test_a_latent_above_a_threshold_has_the_quantile_it_is_asked_for() -> None:
    threshold = torch.tensor([-1.0, 0.0, 2.0])
    median = latent_above(torch.zeros(3), threshold)
    above, whole = torch.special.ndtr(-median), torch.special.ndtr(-threshold)
    torch.testing.assert_close(above, whole / 2)
    assert (latent_above(torch.full((3,), -5.0), threshold) >= threshold - 1e-4).all()


def test_tilted_showers_follow_their_axis() -> None:
    grid = replace(GRID, shape=(9, 25, 4), layer_pitch_mm=20.0)
    model = FactorCopula(grid, 0.0, tilted=True, factors=2).eval()
    with torch.no_grad():
        near = torch.from_numpy(model.frame.radius[model.frame.inner.numpy()] < 0.5)
        model.core[..., 0] = 4.0
        model.core[near, :, 0] = -4.0  # only the cell on the axis is hit
        model.halo[..., 0] = 0.0
        model.halo[: model.frame.across_OA.shape[1] // 9, :, 0] = 4.0  # without turning
    deposits = model.sample(Conditions.of([1e5, 1e5], [math.radians(70), math.radians(110)]), seed=1)
    for shower, sign in zip(deposits, (1, -1), strict=True):
        for z in range(4):
            expected = 12 + sign * (z + 0.5) * 20.0 / 5.0 / math.tan(math.radians(70))
            assert abs(int(shower[:, :, z].sum(0).argmax()) - expected) <= 0.51


def test_neighbours_share_noise_of_unit_variance() -> None:
    """Shares change neither how often a cell is hit nor far cells, only how often neighbours are hit together."""
    alone, together = some_model(loadings=0.0), some_model(loadings=0.0)
    together.correlations.neighbours_RZ.fill_(0.3)
    conditions = Conditions.of(np.full(3000, 1e5))
    hits_alone, hits = (model.sample(conditions, seed=2) > 0 for model in (alone, together))
    np.testing.assert_allclose(hits.mean(0), hits_alone.mean(0), atol=0.055)
    scores = hits - hits.mean(0)
    r = [(scores[:, :-k] * scores[:, k:]).mean() / scores.var(0).mean() for k in (1, 2, 4)]
    # Noise of neighbours is correlated by 2 t / (1 + 4 t^2), of those two cells away by t^2 / (1 + 4 t^2).
    assert 0.2 < r[0] < 0.45
    assert 0.02 < r[1] < 0.09
    assert abs(r[2]) < 0.01


def test_a_turned_model_begins_each_shower_in_a_sector_of_its_own() -> None:
    drum = Grid("drum", (3, 8, 4), axes=("r", "phi", "layer"))
    torch.manual_seed(1)
    model = FactorCopula(drum, 0.0, turned=True, factors=2).eval()
    with torch.no_grad():
        model.core[..., 0] = 9.0
        model.core[model.frame.inner == 0, :, 0] = -9.0  # only the first sector's inner cell is hit
    deposits = model.sample(Conditions.of(np.full(2000, 1e5)), seed=1)
    hits_SN = (deposits[:, 0] > 0).all(2).T
    assert (deposits > 0).sum() == 4 * 2000
    assert (hits_SN.sum(0) == 1).all()  # in one sector, through all layers
    assert np.abs(hits_SN.sum(1) - 250).max() < 4.5 * 15
