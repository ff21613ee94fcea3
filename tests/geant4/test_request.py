"""Conditions follow from seed and number; what Geant4 cannot take is refused before it starts."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from geant4_runs import data_sets
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import load_detector
from caloforge.detector.description import PhysicsList
from caloforge.foundations.errors import UsageError
from caloforge.foundations.units import DEGREE, GEV, Area, Spectrum
from caloforge.geant4.physics_data import PhysicsData, find_physics_data
from caloforge.geant4.request import HADRONIC, SimulationRequest, physics_beside
from caloforge.geant4.simulate import OF_COMPUTED_TABLES, require_physics, require_physics_list
from caloforge.showers import Conditions, Showers
from caloforge.showers.particles import PARTICLES

CLIC = load_detector("clic-ecal")


def request(
    energy: str = "10:500",
    theta: str = "60:120",
    events: int = 9,
    seed: int = 1,
    phi: str = "90",
    impact: str | None = None,
    particles: tuple[int, ...] = (11,),
) -> SimulationRequest:
    return SimulationRequest(
        CLIC,
        events,
        Spectrum.parse(energy, unit=GEV),
        Spectrum.parse(theta, unit=DEGREE),
        seed,
        Spectrum.parse(phi, unit=DEGREE, signed=True),
        None if impact is None else Area.parse(impact),
        particles,
    )


@given(index=st.integers(0, 10**6), seed=st.integers(0, 2**40))
def test_primaries_lie_in_their_ranges_and_depend_on_seed_and_number_alone(
    index: int, seed: int
) -> None:
    primary = request(seed=seed).primary(index)
    assert 10e3 <= primary.energy_MeV <= 500e3
    assert math.radians(60) - 1e-6 <= primary.theta_rad <= math.radians(120) + 1e-6
    assert all(abs(mm) <= 5.1 / 2 for mm in primary.impact_xy_mm)
    assert 0 <= primary.seed < 2**63
    assert request(seed=seed, events=10**7).primary(index) == primary
    assert request(seed=seed + 1).primary(index) != primary


def test_no_two_showers_share_a_seed_or_a_place() -> None:
    primaries = [request().primary(index) for index in range(2000)]
    assert len({primary.seed for primary in primaries}) == 2000
    impact = np.array([primary.impact_xy_mm for primary in primaries])
    energy = np.array([primary.energy_MeV for primary in primaries])
    assert len(np.unique(impact[:, 0])) == 2000
    # Uniform and independent: the mean of 2,000 lies within four standard errors.
    assert np.abs(impact.mean(axis=0)).max() < 4 * 5.1 / math.sqrt(12 * 2000)
    assert abs(energy.mean() - 255e3) < 4 * 490e3 / math.sqrt(12 * 2000)
    assert np.abs(np.corrcoef(np.column_stack([impact, energy]).T)[np.triu_indices(3, 1)]).max() < 0.1


def test_conditions_are_what_a_float32_file_holds() -> None:
    primary = request().primary(0)
    assert primary.energy_MeV == float(np.float32(primary.energy_MeV))
    assert primary.theta_rad == float(np.float32(primary.theta_rad))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"events": 0}, "--events: expected at least 1"),
        ({"seed": -1}, "--seed: expected 0 to "),
        ({"energy": "1e-30"}, "--energy: expected at least 1e-06 GeV (1 keV), got 1e-30"),
        ({"energy": "9e-7:10"}, "--energy: expected at least 1e-06 GeV (1 keV), got 9e-07"),
        ({"energy": "10:2e5"}, "--energy: expected at most 100000 GeV, got 200000"),
        ({"theta": "0.5:90"}, "--theta: expected angles from 1 to 179 degrees"),
        ({"theta": "90,180"}, "--theta: expected angles from 1 to 179 degrees"),
        ({"phi": "-361:0"}, "--phi: expected -360 to 360 degrees, got -361 to 0"),
        (
            {"impact": "0,65"},
            "--impact: expected y on the read-out image of clic-ecal, -63.75 to 63.75 mm",
        ),
        (
            {"impact": "-64:0,1"},
            "--impact: expected x on the read-out image of clic-ecal, -63.75 to 63.75 mm",
        ),
    ],
)
def test_impossible_requests_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        request(**change)  # type: ignore[arg-type]
    assert words in str(refusal.value)


def test_a_seed_means_the_primary_that_it_has_always_meant() -> None:
    primary = request(seed=7).primary(3)
    assert (primary.energy_MeV, primary.theta_rad) == (221605.109375, 1.2968435287475586)
    assert primary.impact_xy_mm == (-1.1883885492922432, 1.1391553194587387)
    assert primary.seed == 2109010813833620636
    assert (primary.phi_rad, primary.pdg_id) == (float(np.float32(math.pi / 2)), 11)
    # A journal that an older version left goes on.
    assert list(request().to_json()) == ["detector", "seed", "energy_MeV", "theta_rad"]


@given(st.integers(0, 10**6), st.integers(0, 2**40))
def test_direction_place_and_particle_change_nothing_else(index: int, seed: int) -> None:
    usual = request(seed=seed).primary(index)
    other = request(seed=seed, phi="-180:10", impact="-3:4,5", particles=(22, -11)).primary(index)
    assert -math.pi - 1e-6 <= other.phi_rad <= math.radians(10) + 1e-6
    assert -3 <= other.impact_xy_mm[0] <= 4
    assert other.impact_xy_mm[1] == 5
    assert other.pdg_id in (22, -11)
    same = replace(other, phi_rad=usual.phi_rad, impact_xy_mm=usual.impact_xy_mm, pdg_id=usual.pdg_id)
    assert same == usual


def test_azimuths_and_particles_are_drawn_evenly_and_apart() -> None:
    found = [request(phi="0:360", particles=(11, 22)).primary(index) for index in range(2000)]
    photon = np.array([primary.pdg_id == 22 for primary in found])
    phi = np.array([primary.phi_rad for primary in found])
    assert abs(photon.mean() - 0.5) < 4 * 0.5 / math.sqrt(2000)
    assert abs(phi.mean() - math.pi) < 4 * 2 * math.pi / math.sqrt(12 * 2000)
    assert abs(np.corrcoef(photon, phi)[0, 1]) < 0.1


def test_other_directions_places_and_particles_are_another_run() -> None:
    usual = request().to_json()
    for change in ({"phi": "80:100"}, {"impact": "1,2"}, {"particles": (22,)}):
        assert request(**change).to_json() != usual


@pytest.mark.parametrize("name", PARTICLES)
def test_hadrons_need_official_data(name: str, tmp_path: Path) -> None:
    pdg = PARTICLES[name]
    leptonic = name in ("e-", "e+", "gamma", "mu-", "mu+", "pi0")
    assert set(HADRONIC).isdisjoint(physics_beside([11, pdg])) == leptonic
    none, some = find_physics_data(environment={}), find_physics_data(data_sets(tmp_path))
    for name_of_set in ("G4PARTICLEXS4.2", "PhotonEvaporation6.1.2", "G4SAIDDATA2.0"):
        (tmp_path / name_of_set).mkdir()
    whole = find_physics_data(tmp_path)
    require_physics((pdg,), whole)
    if leptonic:
        require_physics((11, pdg), none)
    else:
        for data, missing in ((none, "G4EMLOW, G4PARTICLEXS"), (some, "(G4PARTICLEXS, Photon")):
            with pytest.raises(UsageError) as refusal:
                require_physics((11, pdg), data)
            assert str(refusal.value).startswith(f"--particle {name}: hadrons need")
            assert missing in str(refusal.value)


def test_a_list_is_followed_over_and_over() -> None:
    given = Conditions.of([1e3, 2e3, 3e3], [1.5, 1.4, 1.3], [0.5, 0.6, 0.7], None, [11, 22, 11])
    listed = SimulationRequest.listed(CLIC, given, 7, 5, Path("list.csv"))
    for index in range(7):
        primary, row = listed.primary(index), index % 3
        assert primary.energy_MeV == 1e3 * (row + 1)
        assert primary.theta_rad == float(given.incident_theta[row])
        assert primary.phi_rad == float(given.phi[row])
        assert primary.pdg_id == given.particle[row]
        # What the list lacks is drawn as ever.
        usual = request(seed=5).primary(index)
        assert (primary.impact_xy_mm, primary.seed) == (usual.impact_xy_mm, usual.seed)
    assert listed.particles == (11, 22)
    assert SimulationRequest.listed(CLIC, given, None, 5, Path("list.csv")).events == 3
    placed = replace(given, impact_xy=np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    assert SimulationRequest.listed(CLIC, placed, 7, 5, Path("x")).primary(4).impact_xy_mm == (3, 4)
    other = replace(given, pdg_id=None)
    jsons = [
        SimulationRequest.listed(CLIC, some, 7, 5, Path("x")).to_json()
        for some in (given, placed, other)
    ]
    assert len({json["primaries"] for json in jsons}) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Conditions.of([1e9]), "--energy: expected at most 100000 GeV"),
        (Conditions.of([1e3], 0.001), "--theta: expected angles from 1 to 179"),
        (Conditions.of([1e3], None, None, (99, 0)), "--impact: expected x on the read-out image"),
        (
            Conditions.of([1e3], pdg_id=1000020040),
            "--like: expected particles of e-, .* PDG id 1000020040",
        ),
    ],
)
def test_a_list_holds_what_geant4_can_take(given: Conditions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SimulationRequest.listed(CLIC, given, 1, 1, None)


def test_what_is_asked_for_is_drawn_or_listed_but_not_both(tmp_path: Path) -> None:
    energy, theta = (request().energy, request().theta)
    assert SimulationRequest.of(CLIC, 9, energy, theta=theta, seed=5) == request(seed=5)
    file = tmp_path / "list.csv"
    file.write_text("energy_GeV\n1\n2\n3\n4\n5\n")
    listed = SimulationRequest.of(CLIC, None, None, like=file, overlay=2)
    assert (listed.events, listed.n_primaries, listed.primary(3).energy_MeV) == (2, 4, 4e3)
    assert listed.to_json()["like"] == "list.csv"
    two = np.array([1e3, 2e3], np.float32)
    held = Showers(np.zeros((2, *CLIC.grid.shape), np.float32), two, two * 0 + 1.5, CLIC.grid)
    of_held = SimulationRequest.of(CLIC, None, None, like=held)
    assert (of_held.events, of_held.primary(1).energy_MeV) == (2, 2e3)
    assert "like" not in of_held.to_json()
    for told in ({"energy": energy}, {"phi": theta}, {"particles": (11,)}):
        with pytest.raises(UsageError, match="--like: takes the primaries from the file; --energy,"):
            SimulationRequest.of(CLIC, 2, **{"energy": None, "like": held, **told})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--like: expected at least one shower"):
        SimulationRequest.of(CLIC, 2, None, like=held[:0])


def test_at_least_one_particle_makes_a_shower() -> None:
    with pytest.raises(UsageError, match="--overlay: expected at least 1, got 0"):
        replace(request(), overlay=0)


def test_a_physics_list_of_official_tables_is_refused_without_them() -> None:
    computed, official = (PhysicsData(Path(), kind, {}) for kind in (True, False))
    for name in get_args(PhysicsList):
        detector = CLIC.model_copy(update={"physics_list": name})
        require_physics_list(detector, official)
        if name in OF_COMPUTED_TABLES:
            require_physics_list(detector, computed)
        else:
            with pytest.raises(
                UsageError, match=f"physics_list {name} needs Geant4's official data sets"
            ):
                require_physics_list(detector, computed)
    require_physics_list(CLIC, computed)
