"""Conditions follow from seed and number; what Geant4 cannot take is refused before it starts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.detector import load_detector
from caloforge.foundations.errors import UsageError
from caloforge.foundations.units import DEGREE, GEV, Spectrum
from caloforge.geant4.request import SimulationRequest

CLIC = load_detector("clic-ecal")


def request(
    energy: str = "10:500", theta: str = "60:120", events: int = 9, seed: int = 1
) -> SimulationRequest:
    return SimulationRequest(
        CLIC, events, Spectrum.parse(energy, unit=GEV), Spectrum.parse(theta, unit=DEGREE), seed
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
    ],
)
def test_impossible_requests_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as refusal:
        request(**change)  # type: ignore[arg-type]
    assert words in str(refusal.value)
