"""Particles and directions in real Geant4: what conversion, rest masses and mirrors say of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geant4_runs import Simulated
from numpy.typing import NDArray

from caloforge.detector import load_detector
from caloforge.files.shower_file import read
from caloforge.foundations.units import DEGREE, GEV, Spectrum
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import simulate
from caloforge.showers import Showers
from caloforge.showers.particles import PARTICLES

pytestmark = pytest.mark.geant4

BLOCK = load_detector("pbwo4")  # homogeneous, and each layer is a radiation length
ENERGY = Spectrum.parse("1", unit=GEV)


@pytest.fixture(scope="module")
def by_particle(simulated: Simulated) -> dict[str, Showers]:
    names = ("e-", "e+", "gamma", "mu-", "pi0")
    particles = tuple(PARTICLES[name] for name in names)
    showers = read(simulated("particles", SimulationRequest(BLOCK, 300, ENERGY, particles=particles)))
    return {
        name: showers[np.flatnonzero(showers.conditions.particle == PARTICLES[name])] for name in names
    }


def depth_X0(showers: Showers) -> NDArray[np.float64]:
    layers = showers.deposits.sum((1, 2), dtype=np.float64)
    return np.asarray(layers @ (np.arange(layers.shape[1]) + 0.5) / layers.sum(1))


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how far two means are apart, in errors."""
    error = math.hypot(*(np.std(values) / math.sqrt(len(values)) for values in (one, other)))
    return float(abs(np.mean(one) - np.mean(other)) / error)


def test_a_file_of_several_particles_holds_all_of_them(by_particle: dict[str, Showers]) -> None:
    counts = [len(showers) for showers in by_particle.values()]
    assert sum(counts) == 300
    assert min(counts) > 30


def test_photons_convert_late(by_particle: dict[str, Showers]) -> None:
    electron, photon = by_particle["e-"], by_particle["gamma"]
    first = [showers.deposits[..., 0].sum((1, 2), dtype=np.float64) for showers in (electron, photon)]
    # The electron ionises from the first mm on; a photon flies 9/7 X0 on average before it does.
    assert first[0].min() > 5
    assert (first[1] == 0).mean() > 0.2
    later = depth_X0(photon).mean() - depth_X0(electron).mean()
    assert 0.2 < later < 1.6


def test_positrons_shower_as_electrons_do_and_leave_their_mass(by_particle: dict[str, Showers]) -> None:
    electron, positron = by_particle["e-"], by_particle["e+"]
    assert apart(depth_X0(positron), depth_X0(electron)) < 4
    assert positron.deposits.sum((1, 2, 3)).max() > electron.deposits.sum((1, 2, 3)).max()


def test_a_neutral_pion_decays_and_leaves_its_mass(by_particle: dict[str, Showers]) -> None:
    share = by_particle["pi0"].deposits.sum((1, 2, 3)) / (GEV + 134.98)
    assert share.min() > 0.95
    assert share.max() <= 1.0001


def test_a_muon_leaves_its_ionisation_alone(by_particle: dict[str, Showers]) -> None:
    deposit = by_particle["mu-"].deposits.sum((1, 2, 3))
    # PDG: 10.2 MeV/cm at least in PbWO4, here over 25 x 0.89 cm; relativistic rise and the tail come on top.
    assert 200 < np.median(deposit) < 300


@pytest.fixture(scope="module")
def turned(simulated: Simulated) -> dict[int, Showers]:
    def at(phi: int) -> Showers:
        spectra = (Spectrum.parse("60", unit=DEGREE), Spectrum.parse(f"{phi}", unit=DEGREE, signed=True))
        request = SimulationRequest(BLOCK, 120, ENERGY, spectra[0], seed=3 + phi % 7, phi=spectra[1])
        return read(simulated(f"azimuth-{phi}", request))

    return {phi: at(phi) for phi in (30, 150, -30, 60)}


@pytest.mark.parametrize("phi", [150, -30, 60])
def test_mirror_images_agree(turned: dict[int, Showers], phi: int) -> None:
    mirror = {
        150: lambda deposits: deposits[:, ::-1],
        -30: lambda deposits: deposits[:, :, ::-1],
        60: lambda deposits: deposits.swapaxes(1, 2),
    }
    usual, other = turned[30], turned[phi]
    np.testing.assert_allclose(other.conditions.phi, math.radians(phi), rtol=1e-6)
    image = mirror[phi](other.deposits)
    for axes in ((2, 3), (1, 3), (1, 2)):
        one, two = (deposits.sum(axes, dtype=np.float64) for deposits in (usual.deposits, image))
        cells = np.arange(one.shape[1])
        assert apart(one @ cells / one.sum(1), two @ cells / two.sum(1)) < 4
        assert apart(one.max(1), two.max(1)) < 4
    # It would be seen: unmirrored, the images lie apart.
    across = [showers.observables() for showers in (usual, other)]
    assert max(apart(*(a[f"barycentre_{axis}"] for a in across)) for axis in "xy") > 8


def test_a_shower_lies_along_its_direction(turned: dict[int, Showers]) -> None:
    for phi, showers in turned.items():
        found = showers.observables()
        assert showers.impact_xy is not None
        x, y = (
            np.mean(found[f"barycentre_{axis}"] - showers.impact_xy[:, i]) for i, axis in enumerate("xy")
        )
        expected = np.mean(found["barycentre_depth"]) / math.tan(math.radians(60))
        np.testing.assert_allclose(
            [x, y],
            [expected * math.cos(math.radians(phi)), expected * math.sin(math.radians(phi))],
            atol=2,
        )


def test_overlaid_showers_are_the_sums_of_single_ones(simulated: Simulated, tmp_path: Path) -> None:
    request = SimulationRequest(BLOCK, 4, ENERGY, particles=(11, 22), seed=9)
    single = read(simulated("single", request))
    simulate(replace(request, events=2, overlay=2), tmp_path / "two.h5")
    both = read(tmp_path / "two.h5")
    np.testing.assert_allclose(both.deposits, single.deposits[0::2] + single.deposits[1::2], rtol=1e-6)
    expected = single.conditions.overlaid(2).columns()
    for name, values in both.conditions.columns().items():
        np.testing.assert_array_equal(values, expected[name])
    assert both.provenance["overlay"] == 2


def test_primaries_of_a_file_are_simulated(simulated: Simulated, tmp_path: Path) -> None:
    single = read(simulated("single", SimulationRequest(BLOCK, 4, ENERGY, particles=(11, 22), seed=9)))
    again = SimulationRequest.listed(BLOCK, single.conditions, None, 9, Path("single.h5"))
    simulate(again, tmp_path / "again.h5")
    like = read(tmp_path / "again.h5")
    for name, values in single.conditions.columns().items():
        np.testing.assert_array_equal(like.conditions.columns()[name], values)
    assert like.provenance["like"] == "single.h5"
    # Impact points are float32 in a file: the showers are the same but for that.
    np.testing.assert_allclose(like.deposits.sum((1, 2, 3)), single.deposits.sum((1, 2, 3)), rtol=0.05)
