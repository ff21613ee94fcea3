"""The mixer as a generator: layers have their energies, empty cells are empty, fits find what made the data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from network_probes import GRIDS
from shower_samples import random_showers

from caloforge.detector import Grid
from caloforge.models.mixer.model import Mixer, MixerSizes
from caloforge.models.mixer.moments import begin
from caloforge.models.mixer.patches import Patches
from caloforge.models.shared.layer_shares import log_shares
from caloforge.showers import Conditions
from caloforge.showers.batch import Batch, Given

GRID = Grid("block", (7, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)


def begun(*, occupancy: float = 0.3, count: int = 300) -> tuple[Mixer, dict[str, torch.Tensor]]:
    """Return a model fitted to random showers, and these."""
    torch.manual_seed(5)
    showers = random_showers(count, GRID, occupancy=occupancy)
    real = {
        "deposits_BXYZ": torch.from_numpy(showers.deposits),
        "energy_B": torch.from_numpy(showers.incident_energy),
        "impact_mm_B2": torch.from_numpy(np.asarray(showers.impact_xy)),
    }
    model = Mixer(GRID, 0.0, MixerSizes())
    begin(
        model,
        Batch(real["deposits_BXYZ"], Given.of(real["energy_B"], impact_mm_B2=real["impact_mm_B2"])),
    )
    return model.eval(), real


def test_showers_depend_on_seed_and_number_alone() -> None:
    model, _ = begun()
    conditions = Conditions.of(np.linspace(5e4, 2e5, 7))
    whole = model.sample(conditions, seed=3)
    parts = [model.sample(conditions[part], 3, part.start) for part in (slice(0, 3), slice(3, 7))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-3, atol=1e-4)
    assert not np.array_equal(whole, model.sample(conditions, seed=4))


def test_layers_have_exactly_the_energies_that_were_drawn() -> None:
    """Whatever the shape's network says: with other weights of it the layers' sums stay the same."""
    model, real = begun()
    noise = torch.randn(20, model.noise_size)
    with torch.no_grad():
        before = model(Given.of(real["energy_B"][:20]), noise)
        model.head.weight.normal_()
        model.cell_laws.add_(3.0)  # hardly a cell is hit any more
        after = model(Given.of(real["energy_B"][:20]), noise)
    assert not torch.allclose(before, after, rtol=0.1)
    assert float((before.sum((1, 2)) > 0).float().mean()) > 0.9
    torch.testing.assert_close(after.sum((1, 2)), before.sum((1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("occupancy", [0.1, 0.6])
def test_empty_cells_are_zero_and_as_many_as_in_the_data(occupancy: float) -> None:
    model, real = begun(occupancy=occupancy, count=600)
    with torch.no_grad():
        model.head.weight.zero_()  # the marginals that were fitted, alone
    made = model.sample(Conditions.of(real["energy_B"].numpy()), seed=1)
    assert (made >= 0).all()
    assert (made > 0).mean() == pytest.approx(occupancy, rel=0.1)


@torch.no_grad()
def test_the_fit_in_closed_form_finds_the_layers_law_again() -> None:
    model, real = begun(count=2000)
    values = log_shares(real["deposits_BXYZ"], real["energy_B"])
    features = model.features(real["energy_B"])
    normals = model._normals(values, features)
    torch.testing.assert_close(normals.mean(0), torch.zeros(5), rtol=0, atol=0.08)
    torch.testing.assert_close(normals.std(0), torch.ones(5), rtol=0, atol=0.08)
    layers = model._layers(normals, features, real["energy_B"])
    error = (layers / real["deposits_BXYZ"].sum((1, 2)) - 1).abs()
    assert float(error.median()) < 0.01
    expected = torch.corrcoef(normals.T)
    torch.testing.assert_close(model.root_MM.T @ model.root_MM, expected, rtol=0, atol=0.05)


def test_a_prepared_model_makes_the_same_showers() -> None:
    model, real = begun()
    with torch.no_grad():
        model.energy_scale.log_slope.normal_(0, 0.3)
    conditions = Conditions.of(real["energy_B"][:50].numpy())
    before = model.sample(conditions, seed=1)
    model.prepare()
    np.testing.assert_allclose(model.sample(conditions, seed=1), before, rtol=2e-3, atol=1e-4)


def test_gradients_reach_every_weight() -> None:
    model, real = begun()
    model(Given.of(real["energy_B"][:30]), torch.randn(30, model.noise_size)).square().sum().backward()
    without = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None
        or not bool((weight.grad != 0).any())
        or not bool(weight.grad.isfinite().all())
    ]
    assert without == []


def test_the_likelihood_of_a_cell_by_hand() -> None:
    model, real = begun()
    one = {name: value[:1] for name, value in real.items()}
    with torch.no_grad():
        model.head.weight.zero_()
        found = float(model.log_likelihood(one["deposits_BXYZ"], one["energy_B"], one["impact_mm_B2"]))
        layers = one["deposits_BXYZ"].sum((1, 2))
        threshold, log_scale, log_power = (
            torch.einsum("zl,loz->oz", model._levels(layers)[0], law) for law in model.cell_laws
        )
    total, unit = 0.0, float(model.unit_MeV)
    for deposit, t, s, p in zip(
        one["deposits_BXYZ"].flatten().tolist(),
        threshold.flatten().tolist(),
        log_scale.flatten().tolist(),
        log_power.flatten().tolist(),
        strict=True,
    ):
        if deposit == 0:
            total += math.log(0.5 * math.erfc(-t / 2**0.5))
            continue
        height, power = math.log1p(deposit / unit), math.exp(p)
        score = t + (height / math.exp(s)) ** (1 / power)
        by_height = (score - t) / (power * height)  # what the score rises by with the height
        by_log = by_height * deposit / (deposit + unit)  # and with ln(deposit)
        total += -0.5 * score**2 + math.log(by_log)
    assert found == pytest.approx(total / GRID.n_cells, rel=1e-3)


@pytest.mark.parametrize("shape", GRIDS)
def test_patches_are_put_together_again(shape: tuple[int, int, int]) -> None:
    patches = Patches(Grid("any", shape))
    image = torch.randn(2, *shape)
    cut = patches(image)
    assert cut.shape == (2, patches.count, patches.cells)
    assert torch.equal(patches.join(cut), image)
    made = Mixer(Grid("any", shape), 0.0, MixerSizes())
    assert made(Given.of(torch.full((1,), 1e5)), torch.randn(1, made.noise_size)).shape == (1, *shape)
