"""Which showers are compared together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.comparison.selections import MIN_SHOWERS, choose_selections, energy_edges
from caloforge.foundations.units import GEV
from caloforge.showers import Conditions


def uniform(n: int, low: float = 10, high: float = 500, seed: int = 1) -> Conditions:
    return Conditions.of(np.random.default_rng(seed).uniform(low * GEV, high * GEV, n))


@settings(deadline=None, max_examples=100)
@given(
    low=st.floats(1e-3, 1e3),
    span=st.floats(1e-4, 900),
    n=st.integers(1, 600),
    log=st.booleans(),
    seed=st.integers(0, 99),
)
def test_bins_cover_every_shower_once(low: float, span: float, n: int, log: bool, seed: int) -> None:
    """For one file against itself: bins tile the range, whatever its spectrum."""
    u = np.random.default_rng(seed).random(n)
    energies = low * (1 + span) ** u if log else low * (1 + span * u)
    conditions = Conditions.of(energies * GEV)
    edges = energy_edges(conditions, conditions, max_bins=5)
    if n == 1:
        return
    if len(edges) == 0:
        assert np.ptp(conditions.incident_energy) == 0
        return
    assert (np.diff(edges) > 0).all()
    assert np.histogram(conditions.incident_energy, edges)[0].sum() == n
    assert (conditions.incident_energy < edges[-1]).all()


def test_a_flat_spectrum_gets_equal_bins_and_a_log_one_equal_ratios() -> None:
    flat = energy_edges(uniform(2000), uniform(2000, seed=2), max_bins=5) / GEV
    assert flat == pytest.approx([10, 108, 206, 304, 402, 500], abs=1)
    energies = np.geomspace(1 * GEV, 1000 * GEV, 500)
    log = energy_edges(Conditions.of(energies), Conditions.of(energies), max_bins=3)
    assert log[1:] / log[:-1] == pytest.approx([10, 10, 10], rel=0.02)


def test_discrete_energies_get_a_bin_each() -> None:
    energies = Conditions.of(np.repeat([50.0, 100.0, 200.0], 30) * GEV)
    kept, thin = choose_selections(energies, energies)
    assert [s.title for s in kept] == ["all energies", "50 GeV", "100 GeV", "200 GeV"]
    assert [int(s.mask(energies).sum()) for s in kept] == [90, 30, 30, 30]
    assert not thin


def test_published_windows_appear_when_populated_and_are_named_when_thin() -> None:
    many, few = uniform(4000), uniform(300)
    kept, _ = choose_selections(many, many)
    assert {"50 ± 5 GeV", "100 ± 5 GeV", "400 ± 5 GeV"} <= {s.title for s in kept}
    kept, thin = choose_selections(many, few)
    listed = {s.title: counts for s, counts in thin}
    assert "50 ± 5 GeV" not in {s.title for s in kept}
    a, b = listed["50 ± 5 GeV"]
    assert a >= MIN_SHOWERS > b
    assert b == int(((few.incident_energy >= 45 * GEV) & (few.incident_energy < 55 * GEV)).sum())


def test_angles_get_the_published_windows_only_where_they_vary() -> None:
    energy = uniform(900).incident_energy
    tilted = Conditions.of(energy, np.radians(np.linspace(60, 120, 900)))
    titles = {s.title for s in choose_selections(tilted, tilted)[0]}
    assert {"62 ± 5° incident", "90 ± 5° incident", "118 ± 5° incident"} <= titles
    assert "100 to 200 GeV, 90 ± 5° incident" in titles
    assert not any("°" in s.title for s in choose_selections(uniform(900), uniform(900))[0])


def test_files_without_common_energies_have_no_bins() -> None:
    low, high = uniform(100, 10, 50), uniform(100, 100, 500)
    kept, _ = choose_selections(low, high)
    assert [s.kind for s in kept] == ["all"]


def test_several_files_share_what_the_smallest_can_fill() -> None:
    kept, _ = choose_selections(uniform(4000), uniform(4000, seed=2), uniform(90, seed=3))
    assert [s.kind for s in kept] == ["all", "energy", "energy"]
