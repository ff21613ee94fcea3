from __future__ import annotations

import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Caloforge
from forged import forge_card
from hypothesis import given
from hypothesis import strategies as st

import caloforge as cf
from caloforge.detector import Grid, load_detector
from caloforge.foundations.errors import CaloforgeError, CaloforgeWarning, UsageError
from caloforge.foundations.units import GEV, Area, Spectrum
from caloforge.geant4.request import SimulationRequest
from caloforge.generation.condition_source import drawn, like_file
from caloforge.generation.sampler import (
    Generator,
    check_conditions,
    generate_file,
    load,
)
from caloforge.models.copula.model import FactorCopula
from caloforge.models.saved import ModelCard, save_model
from caloforge.showers import Conditions, Domain
from caloforge.showers.batch import Given
from caloforge.showers.digitisation import Digitiser
from caloforge.training.config import load_config

GRID = Grid("small", (9, 9, 11), threshold_MeV=0.001)
ENERGY = Spectrum("uniform", (10 * GEV, 500 * GEV))
THRESHOLD_MEV = 1.0


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    card = ModelCard("3dgan", GRID, THRESHOLD_MEV, (10e3, 500e3), (math.pi / 2, math.pi / 2))
    save_model(folder, card.build(), card)
    return folder


@pytest.fixture(scope="module")
def generator(run: Path) -> Generator:
    return load(run)


def generated(
    generator: Generator, path: Path, batch: int, seed: int = 5, count: int = 300
) -> cf.Showers:
    source = drawn(count, ENERGY, None, seed)
    generate_file(generator, source, path, seed=seed, batch=batch)
    return cf.read(path)


def test_the_same_seed_gives_the_same_showers_whatever_the_batch(
    generator: Generator, tmp_path: Path
) -> None:
    one = generated(generator, tmp_path / "a.h5", batch=7)
    other = generated(generator, tmp_path / "b.h5", batch=128)
    assert np.array_equal(one.incident_energy, other.incident_energy)
    # Sums may round differently by batch; a deposit at the threshold may then fall on either side.
    rounding = 1e-5 * one.deposits.max()
    different = np.abs(one.deposits - other.deposits) > rounding
    larger = np.maximum(one.deposits, other.deposits)
    assert (np.abs(larger[different] - THRESHOLD_MEV) <= rounding).all()
    assert one.deposits.any()
    another = generated(generator, tmp_path / "c.h5", batch=128, seed=6)
    assert not np.array_equal(one.incident_energy, another.incident_energy)


def test_electronics_come_after_the_model(generator: Generator, tmp_path: Path) -> None:
    settings = {"mip_MeV": 2.0, "threshold_mip": 0.5, "noise_MeV": 0.3}
    grid = replace(GRID, extra={"digitise": settings})
    told = replace(generator, card=replace(generator.card, grid=grid))
    source = drawn(10, ENERGY, None, 5)
    files = [tmp_path / "plain.h5", *(tmp_path / f"{batch}.h5" for batch in (4, 10))]
    generate_file(told, source, files[0], seed=5, batch=4)
    for path, batch in zip(files[1:], (4, 10), strict=True):
        generate_file(told, source, path, seed=5, batch=batch, digitise=True)
    plain, four, ten = (cf.read(path) for path in files)
    expected = Digitiser.of(plain.grid, 5)(plain, 0).deposits
    np.testing.assert_array_equal(four.deposits, expected)
    np.testing.assert_allclose(
        ten.deposits, expected, atol=1.01
    )  # rounding moves cells over the threshold
    assert four.provenance["digitise"] == settings
    with pytest.raises(UsageError, match="'small' has no digitise in its description"):
        generate_file(generator, source, tmp_path / "x.h5", seed=5, digitise=True)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("batch", [2, 3, 128])
def test_overlaid_showers_are_the_sums_of_single_ones(
    generator: Generator, tmp_path: Path, batch: int
) -> None:
    source = drawn(12, ENERGY, None, 5)
    generate_file(generator, source, tmp_path / "single.h5", seed=5, batch=3)
    generate_file(generator, source.overlaid(3), tmp_path / "three.h5", seed=5, batch=batch)
    expected, three = cf.read(tmp_path / "single.h5").overlaid(3), cf.read(tmp_path / "three.h5")
    for name, values in expected.conditions.columns().items():
        np.testing.assert_array_equal(three.conditions.columns()[name], values)
    # With another batch a deposit at the threshold may fall on either side of it, in each of three.
    np.testing.assert_allclose(
        three.deposits, expected.deposits, rtol=1e-4, atol=3.01 * THRESHOLD_MEV * (batch == 128)
    )
    assert three.provenance["overlay"] == 3
    assert three.conditions.particle.tolist() == [0] * 4
    with pytest.raises(
        UsageError, match="particle: model 3dgan was trained on e-, got several particles"
    ):
        generate_file(generator, like_file(tmp_path / "three.h5"), tmp_path / "x.h5", seed=5)


def test_what_the_electronics_cut_is_cut_after_particles_are_added_up(
    generator: Generator, run: Path, caloforge: Caloforge, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("energy_GeV\n50\n60\n70\n80\n90\n")
    like = ("--like", tmp_path / "list.csv", "--overlay", 2)
    assert caloforge("generate", run, *like, "-o", tmp_path / "two.h5").code == 0
    two = cf.read(tmp_path / "two.h5")
    np.testing.assert_array_equal(two.incident_energy, [110e3, 150e3])
    grid = replace(GRID, extra={"digitise": {"mip_MeV": 2.0, "threshold_mip": 1.0}})
    told = replace(generator, card=replace(generator.card, grid=grid))
    source = like_file(tmp_path / "list.csv").overlaid(2)
    generate_file(told, source, tmp_path / "cut.h5", seed=two.provenance["seed"], digitise=True)
    np.testing.assert_array_equal(cf.read(tmp_path / "cut.h5").deposits, two.above(2.0).deposits)
    assert (two.above(2.0).deposits != two.deposits).any()


def test_what_a_notebook_set_up_in_torch_has_no_say_and_stays(generator: Generator, run: Path) -> None:
    expected = generator.generate([50e3, 60e3], seed=1).deposits
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        made = load(run).generate([50e3, 60e3], seed=1).deposits
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert np.array_equal(made, expected)


def test_more_events_begin_with_the_same_showers(generator: Generator, tmp_path: Path) -> None:
    few = generated(generator, tmp_path / "few.h5", batch=10, count=10)
    many = generated(generator, tmp_path / "many.h5", batch=10, count=20)
    assert np.array_equal(few.deposits, many.deposits[:10])


def test_showers_differ_at_equal_energy(generator: Generator) -> None:
    showers = generator.generate([100e3] * 3, seed=1)
    assert not np.array_equal(showers.deposits[0], showers.deposits[1])


def test_deposits_below_the_threshold_are_zero(generator: Generator) -> None:
    deposits = generator.generate([100e3] * 20, seed=1).deposits
    positive = deposits[deposits > 0]
    assert 0 < positive.size < deposits.size
    assert positive.min() >= THRESHOLD_MEV


def test_units_are_mev(run: Path, generator: Generator) -> None:
    # The network's image holds 50 x GeV: a sample is 20 times as much in MeV.
    conditions = Conditions.of([100e3])
    given = Given.of(torch.tensor([100e3]))
    image = generator.model(given, generator.model.noise(1, 0, 1)).detach()
    sample = generator.model.sample(conditions, seed=1)
    wanted = np.where(image * 20 >= THRESHOLD_MEV, image * 20, 0)
    assert sample == pytest.approx(wanted, rel=1e-5)


def test_like_takes_energies_and_angles_over_and_over(generator: Generator, tmp_path: Path) -> None:
    first = generated(generator, tmp_path / "a.h5", batch=16, count=5)
    source = like_file(tmp_path / "a.h5", 12)
    generate_file(generator, source, tmp_path / "b.h5", seed=9)
    again = cf.read(tmp_path / "b.h5")
    assert np.array_equal(again.incident_energy, np.resize(first.incident_energy, 12))
    assert not np.array_equal(again.deposits[:5], first.deposits)


def test_conditions_the_model_does_not_know(generator: Generator) -> None:
    assert check_conditions(generator, Domain((10e3, 500e3))) is None
    warning = check_conditions(generator, Domain((10e3, 900e3)))
    assert warning == "extrapolation: energies of 10 to 900 GeV, trained on 10 to 500"
    for domain, words in (
        (Domain((10e3, 500e3), (1.0, 2.0)), "does not follow theta, got 57.3 to 114.6 degrees"),
        (Domain((10e3, 500e3), pdg_ids=(11, 22)), "was trained on e-, got gamma"),
    ):
        with pytest.raises(UsageError, match=words):
            check_conditions(generator, domain)
    with pytest.raises(CaloforgeError, match="incident_energy"):
        generator.generate([-5.0])


def test_conditions_beyond_the_training_warn_whoever_asked_for_them(generator: Generator) -> None:
    with pytest.warns(
        CaloforgeWarning, match="extrapolation: energies of .* trained on 10 to 500"
    ) as told:
        generator.generate([50e3, 900e3], seed=1)
    assert [warning.filename for warning in told] == [__file__]
    generator.generate([10e3, 500e3], seed=1)  # a warning would be an error


def test_a_generator_is_told_in_one_line(generator: Generator) -> None:
    said = repr(generator)
    assert said.startswith(f"<Generator: {generator.card.name} for small, 9 x 9 x 11 cells; trained at ")
    assert "theta 1.571 rad" in said
    assert len(said) < 200


def test_the_python_interface_of_the_readme(run: Path) -> None:
    showers = cf.load(run).generate(energy=[50e3, 60e3], theta=None, seed=1)
    assert isinstance(showers, cf.Showers)
    assert showers.incident_theta == pytest.approx(math.pi / 2)
    assert showers.provenance["model"] == "3dgan"


def test_a_failed_generation_leaves_no_file(generator: Generator, tmp_path: Path) -> None:
    def stop(done: int, total: int, **figures: float | str) -> None:
        if done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_file(
            generator, drawn(64, ENERGY, None, 1), tmp_path / "x.h5", seed=1, batch=8, progress=stop
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("model.json", b'"threshold_MeV"', b'"x"', "field grid: changed"),
        ("model.json", b"3dgan", b"4dgan", "field name: changed"),
        ("model.json", b"{", b"[", "expected JSON"),
        ("model.safetensors", b"threshold_MeV", b"threshold_GeV", "checksum"),
    ],
)
def test_a_damaged_model_is_one_line(
    run: Path, tmp_path: Path, name: str, old: bytes, new: bytes, words: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    content = (copy / name).read_bytes()
    assert old in content
    (copy / name).write_bytes(content.replace(old, new))
    with pytest.raises(CaloforgeError, match=words):
        load(copy)


def test_a_folder_without_a_model_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a run folder"):
        load(tmp_path)


def test_weights_of_another_model_are_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    forge_card(copy, name="3dgan-x16")
    with pytest.raises(CaloforgeError, match=r"model\.safetensors: weights"):
        load(copy)


def test_python_and_the_command_line_have_one_default_seed(
    run: Path, caloforge: Caloforge, tmp_path: Path
) -> None:
    assert caloforge("generate", run, "--events", 3, "--energy", "50", "-o", tmp_path / "x.h5").code == 0
    ours = load(run).generate([50e3] * 3)
    assert np.array_equal(cf.read(tmp_path / "x.h5").deposits, ours.deposits)
    assert ours.provenance["seed"] == SimulationRequest(load_detector("pbwo4"), 1, ENERGY).seed
    assert ours.provenance["seed"] == load_config().seed


@pytest.mark.parametrize("grid", [GRID, Grid("other", GRID.shape), Grid("small", (9, 9, 12))])
def test_conditions_of_another_detector_are_said_to_be_so(
    run: Path, caloforge: Caloforge, tmp_path: Path, grid: Grid
) -> None:
    energy = np.full(2, 50e3, np.float32)
    normal = np.full(2, math.pi / 2, np.float32)
    cf.write(
        tmp_path / "like.h5", cf.Showers(np.zeros((2, *grid.shape), np.float32), energy, normal, grid)
    )
    ran = caloforge("generate", run, "--like", tmp_path / "like.h5", "-o", tmp_path / "out.h5")
    assert ran.code == 0
    said = (
        f"like.h5: showers of {grid.name} {list(grid.shape)}, the model makes those of small [9, 9, 11]"
    )
    assert (said in ran.err) == (grid != GRID)


@pytest.mark.parametrize("energy_GeV", [1e-30, 9.9e-7])
def test_energies_that_no_shower_has_are_refused(generator: Generator, energy_GeV: float) -> None:
    with pytest.raises(UsageError, match=r"energy: expected 1e-06 to 1e\+06 GeV"):
        generator.generate([energy_GeV * GEV])


@given(st.floats(-6, 5))
def test_every_energy_that_is_taken_gives_finite_showers(generator: Generator, power: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaloforgeWarning)
        deposits = generator.generate([1.001 * 10**power * GEV], seed=3).deposits
    assert np.isfinite(deposits).all()
    assert (deposits >= 0).all()


def test_far_from_its_training_a_model_says_so_instead_of_giving_nan(tmp_path: Path) -> None:
    name, energy_MeV, degrees = "clic-ecal-angle", 5e4, 1.57
    model = load(name)
    assert isinstance(model.model, FactorCopula)
    with torch.no_grad():  # as a law that overflows there
        model.model.sum_location.fill_(math.nan)
    words = rf"no finite showers at {energy_MeV / GEV:g} GeV and {degrees:g} degrees, too far from the training"
    with (
        pytest.raises(UsageError, match=words),
        pytest.warns(CaloforgeWarning, match="extrapolation"),
    ):
        model.generate([energy_MeV] * 20, math.radians(degrees), seed=3)
    theta = Spectrum("discrete", (math.radians(degrees),))
    source = drawn(20, Spectrum("discrete", (energy_MeV,)), theta, 3)
    with pytest.raises(UsageError, match=words):
        generate_file(model, source, tmp_path / "x.h5", seed=3)
    assert not list(tmp_path.iterdir())


def test_files_hold_the_direction_and_the_particle(generator: Generator, tmp_path: Path) -> None:
    showers = generated(generator, tmp_path / "a.h5", batch=16, count=5)
    columns = showers.conditions.columns()
    assert "impact_xy" not in columns  # of a model that does not follow it
    np.testing.assert_array_equal(columns["incident_phi"], np.float32(math.pi / 2))
    assert showers.conditions.particle.tolist() == [11] * 5


def test_energies_do_not_depend_on_what_else_is_asked_for() -> None:
    phi, impact = Spectrum("uniform", (0, 1)), Area((-1, 1), (2, 2))
    more = drawn(9, ENERGY, None, 1, phi=phi, impact=impact, particles=(11, 22))
    turned, plain = (source.piece(2, 7) for source in (more, drawn(9, ENERGY, None, 1)))
    np.testing.assert_array_equal(turned.incident_energy, plain.incident_energy)
    assert list(plain.columns()) == ["incident_energy", "incident_theta"]
    np.testing.assert_array_equal(turned.columns()["impact_xy"][:, 1], 2)
    np.testing.assert_array_equal(np.unique(turned.particle), [11, 22])
    assert ((turned.phi >= 0) & (turned.phi <= 1)).all()
    assert more.domain.impact_mm == (impact.x_mm, impact.y_mm)
    assert more.provenance["phi_rad"] == phi.to_json()
    np.testing.assert_array_equal(more.piece(4, 2).phi, turned.phi[2:4])


def test_impact_points_beyond_the_training_are_extrapolation() -> None:
    model = load("clic-ecal-angle")
    inside, outside = (
        drawn(3, ENERGY, None, 1, impact=Area.parse(text)).domain for text in ("0,1", "-9:1,0")
    )
    assert check_conditions(model, inside) is None
    assert "impact points at x of -9 to 1 mm, trained on -2.5" in str(check_conditions(model, outside))
