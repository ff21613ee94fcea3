"""Copied showers are found, noisy and mirrored ones too; fresh Geant4 and blurred generators are not accused."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from caloforge.comparison.statistics.copies import excess_p_value, nearest_ratio, orbits, self_ratio
from caloforge.detector import Grid
from caloforge.files import shower_file
from caloforge.foundations.errors import CaloforgeError
from caloforge.observables.sparse_showers import SparseShowers

DATA = Path(str(resources.files("caloforge"))) / "data"
Deposits = NDArray[np.float32]


@cache
def geant4() -> tuple[Deposits, NDArray[np.float32], NDArray[np.intp]]:
    """1,050 real showers and their energies, and the orbits of their cells."""
    parts = [shower_file.read(DATA / f"clic-ecal-{name}.h5").above(0.001) for name in ("train", "test")]
    deposits = np.concatenate([part.deposits for part in parts])
    energies = np.concatenate([part.incident_energy for part in parts])
    return deposits, energies, orbits(parts[0].grid, tilted=False)


def p_value(candidate: Deposits, library: Deposits, fresh: Deposits) -> float:
    orbit_C = geant4()[2]
    held, *others = (SparseShowers.of(part) for part in (library, candidate, fresh))
    return excess_p_value(*(nearest_ratio(part, held, orbit_C) for part in others))


def replay(deposits: Deposits, noise: float, seed: int = 1) -> Deposits:
    """Copies with multiplicative noise, 5 % of the hits lost."""
    rng = np.random.default_rng(seed)
    factor = np.maximum(rng.normal(1, noise, deposits.shape), 0) * (rng.random(deposits.shape) > 0.05)
    return np.asarray(deposits * factor, dtype=np.float32)


def test_a_few_noisy_copies_among_fresh_showers_are_found() -> None:
    deposits, _, _ = geant4()
    library, fresh, candidate = deposits[:450], deposits[450:650], deposits[650:]
    assert p_value(candidate, library, fresh) > 0.01
    copies = replay(library[:20], 0.2)
    assert p_value(np.concatenate([copies, candidate[20:]]), library, fresh) < 1e-3


@pytest.mark.parametrize("image", [(0, 1), (1, 1), (2, 1), (0, 2)], ids=str)
def test_copies_scaled_mirrored_or_transposed_are_found(image: tuple[int, int]) -> None:
    deposits, _, _ = geant4()
    copies = 1.1 * replay(deposits[:100], 0.1)
    copies = np.flip(copies, image[0]) if image[0] else copies
    copies = copies.swapaxes(image[1], 2)
    assert p_value(copies, deposits[:450], deposits[450:750]) < 1e-10


def test_a_blurred_generator_is_no_copier() -> None:
    deposits, energies, _ = geant4()
    order = np.argsort(energies[:450])
    blurred = np.stack([deposits[order[i : i + 20]].mean(axis=0) for i in range(0, 430, 5)])
    assert p_value(blurred, deposits[:450], deposits[450:750]) > 0.05


@pytest.mark.long
def test_false_alarms_are_as_rare_as_the_p_value_says() -> None:
    deposits, _, orbit_C = geant4()
    hits, rng = SparseShowers.of(deposits), np.random.default_rng(2)
    found = []
    for _ in range(20):
        a, b, c = (hits.take(rows) for rows in np.array_split(rng.permutation(len(hits))[:900], 3))
        baseline = self_ratio(b, orbit_C)
        found += [
            excess_p_value(nearest_ratio(a, c, orbit_C), nearest_ratio(b, c, orbit_C)),
            excess_p_value(nearest_ratio(a, b, orbit_C), baseline),
            excess_p_value(self_ratio(a, orbit_C), baseline),
        ]
    assert min(found) > 1e-4
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert np.mean(np.array(found) < 0.5) < 0.65


def test_a_generator_that_repeats_itself_is_found() -> None:
    deposits, _, orbit_C = geant4()
    baseline = self_ratio(SparseShowers.of(deposits[:300]), orbit_C)
    repeated = np.concatenate([replay(deposits[300:330], 0.2, seed) for seed in range(8)])
    assert excess_p_value(self_ratio(SparseShowers.of(repeated), orbit_C), baseline) < 1e-10


def test_an_exact_copy_has_ratio_zero_even_of_a_shower_held_often() -> None:
    deposits, _, orbit_C = geant4()
    library = np.concatenate([np.repeat(deposits[:1], 15, axis=0), deposits[1:30]])
    ratio_N = nearest_ratio(SparseShowers.of(deposits[[0, 1, 40]]), SparseShowers.of(library), orbit_C)
    assert list(ratio_N[:2]) == [0, 0]
    assert ratio_N[2] > 0.5
    assert not self_ratio(SparseShowers.of(library[:15]), orbit_C).any()


def test_empty_showers_are_no_copies() -> None:
    deposits, _, orbit_C = geant4()
    empty = np.zeros((2, *deposits.shape[1:]), np.float32)
    library = np.concatenate([empty, deposits[:20]])
    assert list(nearest_ratio(SparseShowers.of(empty), SparseShowers.of(library), orbit_C)) == [1, 1]
    with pytest.raises(CaloforgeError, match="expected at least 2 showers to compare with, found 1"):
        self_ratio(SparseShowers.of(deposits[:2]), orbit_C)


def test_distance_is_hellingers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caloforge.comparison.statistics.copies.VALUES_AT_ONCE", 50)  # several blocks
    rng = np.random.default_rng(3)
    x, y = rng.exponential(size=(5, 2, 1, 3)), rng.exponential(size=(13, 2, 1, 3))
    p, q = (a.reshape(len(a), -1) / a.sum(axis=(1, 2, 3))[:, None] for a in (x, y))
    distance = np.sqrt(((np.sqrt(p)[:, None] - np.sqrt(q)) ** 2).sum(axis=2))
    distance.sort(axis=1)
    hits = [SparseShowers.of(a.astype(np.float32)) for a in (x, y)]
    found = nearest_ratio(hits[0], hits[1], np.arange(6))
    assert found == pytest.approx(distance[:, 0] / distance[:, 10], rel=1e-3)


@pytest.mark.parametrize(
    ("grid", "tilted", "n_orbits"),
    [
        (Grid("square", (5, 5, 2), cell_size=(1, 1)), False, 6 * 2),
        (Grid("oblong", (4, 5, 2)), False, 2 * 3 * 2),
        (Grid("square", (5, 5, 2), cell_size=(1, 1)), True, 3 * 5 * 2),
        (Grid("round", (3, 8, 2), ("r", "phi", "layer")), False, 3 * 2),
        (Grid("round", (3, 8, 2), ("r", "phi", "layer")), True, 3 * 8 * 2),
    ],
    ids=str,
)
def test_orbits_are_what_symmetries_exchange(grid: Grid, tilted: bool, n_orbits: int) -> None:
    orbit = orbits(grid, tilted=tilted).reshape(grid.shape)
    assert len(np.unique(orbit)) == orbit.max() + 1 == n_orbits
    if grid.cartesian:
        assert np.array_equal(orbit, orbit[::-1])
        assert np.array_equal(orbit, orbit[:, ::-1]) == (not tilted)
        assert np.array_equal(orbit, orbit.swapaxes(0, 1)) == (grid.square and not tilted)


def test_the_p_value_is_that_of_random_orders() -> None:
    rng = np.random.default_rng(4)
    n, m = 12, 30
    found = [excess_p_value(rng.random(m), rng.random(n)) for _ in range(4000)]
    for level in (0.02, 0.1, 0.3):
        assert np.mean(np.array(found) <= level) < level + 3 * math.sqrt(level / 4000)
    # All of the candidate's below the baseline's lowest: one order of all.
    expected = 3 / math.comb(n + m, m)
    assert excess_p_value(np.zeros(m), np.ones(n)) == pytest.approx(expected, rel=1e-6)
    assert excess_p_value(np.full(m, 2.0), np.ones(n)) == 1
