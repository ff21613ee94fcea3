"""Where the verdict looks: points that tile a spectrum, energies of a scan, ranges, angles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_samples import scan

from caloforge.comparison.energy_points import choose_places, scan_or_span
from caloforge.comparison.selections import MIN_SHOWERS, Selection
from caloforge.foundations.units import GEV
from caloforge.showers import Conditions


def spectrum(kind: str, low: float, high: float, n: int, seed: int) -> Conditions:
    u = np.random.default_rng(seed).random(n)
    energy = {
        "uniform": low + (high - low) * u,
        "log-uniform": low * (high / low) ** u,
        "falling": 1 / (1 / low + (1 / high - 1 / low) * u),
        "rising": np.sqrt(low**2 + (high**2 - low**2) * u),
    }[kind]
    return Conditions.of(energy * GEV)


def tiles(points: tuple[Selection, ...]) -> list[Selection]:
    """Return the points without those that slide from one to the next."""
    chosen = [points[0]]
    for point in points:
        if point.energy[0] >= chosen[-1].energy[1]:
            chosen.append(point)
    return chosen


def common_range(files: Sequence[Conditions]) -> tuple[float, float]:
    energies = [file.incident_energy for file in files]
    return float(max(e.min() for e in energies)), float(min(e.max() for e in energies))


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["uniform", "log-uniform", "falling", "rising"]),
    sizes=st.tuples(st.integers(150, 2000), st.integers(150, 2000)),
    low=st.floats(1, 100),
    ratio=st.floats(1.01, 100),
    seed=st.integers(0, 99),
)
def test_points_tile_what_two_files_of_a_spectrum_share(
    kind: str, sizes: tuple[int, int], low: float, ratio: float, seed: int
) -> None:
    files = [spectrum(kind, low, low * ratio, size, 2 * seed + i) for i, size in enumerate(sizes)]
    first, last = common_range(files)
    shared = [
        np.count_nonzero((f.incident_energy >= first) & (f.incident_energy <= last)) for f in files
    ]
    places = choose_places(*files)
    if min(shared) < 160:
        assert list(places) == []
        return
    assert len(places.points) >= 8
    for place in places:
        assert min(np.count_nonzero(place.mask(file)) for file in files) >= MIN_SHOWERS
    bins = tiles(places.points)
    assert all(below.energy[1] == above.energy[0] for below, above in pairwise(bins))
    assert all(below.energy < above.energy for below, above in pairwise(places.points))
    for file, n in zip(files, shared, strict=True):
        assert sum(np.count_nonzero(point.mask(file)) for point in bins) == n
    titles = [place.title for place in places]
    assert len(set(titles)) == len(titles)


def test_many_showers_make_bins_of_one_ratio() -> None:
    files = [spectrum("log-uniform", 10, 1000, 20_000, seed) for seed in (1, 2)]
    points = choose_places(*files).points
    ratios = [point.energy[1] / point.energy[0] for point in points]
    assert ratios == pytest.approx([100**0.1] * 10, rel=0.01)


def test_ranges_are_runs_of_neighbours() -> None:
    """Of two, four, eight bins: each holds the showers of its bins, and no other."""
    files = [spectrum("log-uniform", 10, 500, 4000, seed) for seed in (1, 2)]
    places = choose_places(*files)
    masks = np.array([point.mask(files[0]) for point in tiles(places.points)])
    runs = [masks[i : i + n].any(axis=0) for n in (2, 4, 8) for i in range(len(masks) - n + 1)]
    assert len(places.ranges) == len(runs) > 15
    for place, run in zip(places.ranges, runs, strict=True):
        np.testing.assert_array_equal(place.mask(files[0]), run)


@pytest.mark.parametrize("energies", [(10.0,), (10.0, 20.0, 50.0), (1.0, 2.0, 3.0, 150.0)])
def test_each_energy_of_a_scan_is_a_point(energies: tuple[float, ...]) -> None:
    conditions = scan(*energies, showers=30)
    places = choose_places(conditions, scan(*energies, showers=40))
    assert [point.title for point in places.points] == [f"{energy:g} GeV" for energy in energies]
    assert [np.count_nonzero(point.mask(conditions)) for point in places.points] == [30] * len(energies)
    assert scan_or_span(conditions) == ",".join(f"{energy:g}" for energy in energies)


def test_an_energy_of_a_scan_with_few_showers_is_left_out() -> None:
    few = Conditions.of(np.repeat([10.0, 20.0, 50.0], [30, MIN_SHOWERS - 1, 30]) * GEV)
    places = choose_places(scan(10, 20, 50, showers=100), few)
    assert [point.title for point in places.points] == ["10 GeV", "50 GeV"]
    assert [place.title for place in places.ranges] == ["10 to 20 GeV", "20 to 50 GeV"]


def test_a_scan_against_a_spectrum_has_the_bins_of_a_spectrum() -> None:
    spread = spectrum("uniform", 10, 50, 900, 1)
    places = choose_places(spread, scan(10, 20, 50, showers=300))
    assert all(" to " in place.title for place in places)


@pytest.mark.parametrize(("kind", "prefix"), [("uniform", ""), ("log-uniform", "log:")])
def test_a_spectrum_is_written_as_it_is_asked_for(kind: str, prefix: str) -> None:
    text = scan_or_span(spectrum(kind, 10, 500, 20_000, 1))
    assert text == f"{prefix}10:500"


def test_nothing_in_common_is_no_place() -> None:
    assert (
        list(choose_places(spectrum("uniform", 10, 50, 900, 1), spectrum("uniform", 60, 90, 900, 1)))
        == []
    )


def test_angles_are_five_ranges_where_they_vary() -> None:
    rng = np.random.default_rng(1)
    energy = rng.uniform(10, 500, 900) * GEV
    tilted = Conditions.of(energy, np.radians(rng.uniform(60, 120, 900)))
    angles = [
        place for place in choose_places(tilted, tilted).ranges if "\N{DEGREE SIGN}" in place.title
    ]
    assert len(angles) == 5
    counts = sum(place.mask(tilted).astype(int) for place in angles)
    np.testing.assert_array_equal(counts, 1)
    normal = Conditions.of(energy, np.radians(rng.uniform(89.8, 90.2, 900)))
    assert not any("\N{DEGREE SIGN}" in place.title for place in choose_places(normal, normal))
