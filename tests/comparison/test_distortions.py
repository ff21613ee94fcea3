"""Known distortions of real Geant4 showers, each found by the number that should find it.

A table of distortions (rows) against numbers (columns): 400 untouched showers of one file are the
reference, showers of another file are distorted and judged. ``-o log_cli=true`` shows the
table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from caloforge.comparison.differences import Comparison, Metrics
from caloforge.comparison.metrics import measure
from caloforge.comparison.samples import Sample, accumulate, keep_hits
from caloforge.comparison.selections import choose_selections
from caloforge.files import shower_file, shower_writer
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.randomness import stream
from caloforge.showers import Showers

pytestmark = pytest.mark.slow

DATA = Path(str(resources.files("caloforge"))) / "data"
FOUND = 3.3
"""Errors beyond which a number is taken to have found something: one false alarm in a thousand."""

N_CANDIDATE = 450
"""Showers of the training file that are distorted; the others are only there to be copied."""


def unchanged(showers: Showers, _: np.random.Generator) -> Showers:
    return showers


def scale_energies(showers: Showers, _: np.random.Generator) -> Showers:
    return replace(showers, deposits=showers.deposits * np.float32(1.01))


def shift_layers(showers: Showers, _: np.random.Generator) -> Showers:
    shifted = np.zeros_like(showers.deposits)
    shifted[..., 1:] = showers.deposits[..., :-1]
    return replace(showers, deposits=shifted)


def widen(showers: Showers, rng: np.random.Generator) -> Showers:
    """Move hits away from the axis by 3 % of their distance, on average: whole cells at random."""
    n, nx, ny, _nz = showers.deposits.shape
    shower, *index = np.nonzero(showers.deposits)
    deposit = showers.deposits[shower, *index]
    moved = np.zeros_like(showers.deposits)
    for axis, size in ((0, nx), (1, ny)):
        mean = np.bincount(shower, deposit * index[axis], n) / np.bincount(shower, deposit, n)
        step = 0.03 * (index[axis] - mean[shower])
        index[axis] = np.clip(
            index[axis] + np.floor(step + rng.random(len(step))).astype(int), 0, size - 1
        )
    np.add.at(moved, (shower, *index), deposit)
    return replace(showers, deposits=moved)


def drop_hits(showers: Showers, rng: np.random.Generator) -> Showers:
    kept = rng.random(showers.deposits.shape) >= 0.02
    return replace(showers, deposits=showers.deposits * kept)


def replace_quartile(showers: Showers, rng: np.random.Generator) -> Showers:
    """Return the showers of the second quartile of energy the deposits of showers of the first."""
    quartile = np.searchsorted(
        np.quantile(showers.incident_energy, (0.25, 0.5, 0.75)), showers.incident_energy
    )
    deposits = showers.deposits.copy()
    low, second = np.flatnonzero(quartile == 0), np.flatnonzero(quartile == 1)
    deposits[second] = deposits[rng.choice(low, len(second))]
    return replace(showers, deposits=deposits)


def replay(showers: Showers, rng: np.random.Generator) -> Showers:
    """Replay training showers, 10 % noise on every cell: other ones than the fresh candidates."""
    library = shower_file.read(DATA / "clic-ecal-train.h5")[N_CANDIDATE:]
    chosen = library[rng.integers(0, len(library), len(showers))]
    noise = rng.normal(1, 0.1, chosen.deposits.shape).astype(np.float32)
    return replace(chosen, deposits=chosen.deposits * np.maximum(noise, 0))


DISTORTIONS: dict[str, tuple[Callable[[Showers, np.random.Generator], Showers], str]] = {
    "none": (unchanged, ""),
    "energies scaled by 1 %": (scale_energies, "energy_scale"),
    "layers shifted by one": (shift_layers, "barycentre_depth auc.high"),
    "width smeared by 3 %": (widen, "width_across auc.high"),
    "2 % of hits dropped": (drop_hits, "hit_scale energy_scale"),
    "a quartile of energy replaced": (replace_quartile, "by_energy auc.high auc.low copies"),
    "training showers replayed": (replay, "copies"),
}
"""What is done to the showers, and the columns that must find it; "none" must leave all quiet."""
COLUMNS = (
    "energy_scale", "hit_scale", "width_across", "barycentre_depth", "by_energy", "auc.high", "auc.low", "copies",
)  # fmt: skip


def kept(path: Path, showers: Showers, reference: ShowerFile) -> Sample:
    with shower_writer.ShowerWriter(path, showers.grid, {}) as writer:
        writer.append(showers)
    with ShowerFile(path) as file:
        selections, _ = choose_selections(reference.conditions, file.conditions)
        return accumulate(file, selections, grid=replace(reference.grid, threshold_MeV=0.001))


def significances(metrics: Metrics) -> dict[str, float]:
    """By how many of its errors each column's number is away from what it is without a difference.

    A p-value becomes the number of errors of the same one-sided probability.
    """
    found = {}
    for column, name, perfect in (
        ("energy_scale", "energy_scale", 1.0),
        ("hit_scale", "hit_scale", 1.0),
        ("width_across", "adjusted_ratio.width_across", 1.0),
        ("barycentre_depth", "adjusted_ratio.barycentre_depth", 1.0),
        ("auc.high", "auc.high", 0.5),
        ("auc.low", "auc.low", 0.5),
    ):
        found[column] = (metrics[name] - perfect) / metrics[f"{name}_err"]
    pulls = [
        (value - 1) / error
        for value, error in zip(
            metrics["adjusted_ratio.sampling_fraction_by_energy"],
            metrics["adjusted_ratio.sampling_fraction_by_energy_err"],
            strict=True,
        )
    ]
    found["by_energy"] = max(pulls, key=abs)
    found["copies"] = -NormalDist().inv_cdf(max(metrics["nearest_neighbour.p_value"] / 2, 1e-300))
    return found


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    folder = tmp_path_factory.mktemp("distortions")
    train = shower_file.read(DATA / "clic-ecal-train.h5")
    found = {}
    with (
        ShowerFile(DATA / "clic-ecal-test.h5") as reference,
        ShowerFile(DATA / "clic-ecal-train.h5") as t,
    ):
        library = keep_hits(t, replace(reference.grid, threshold_MeV=0.001))
        ours = accumulate_reference(reference)
        for row, (distort, _) in DISTORTIONS.items():
            showers = distort(train[:N_CANDIDATE], stream(1, "distortions", row))
            theirs = kept(folder / "candidate.h5", showers, reference)
            copied = [library.take(np.arange(N_CANDIDATE, len(library)))]
            measured = measure(Comparison(ours, theirs), training=copied)
            found[row] = significances(measured.metrics)
    logging.getLogger(__name__).info("\n%s", "\n".join(_lines(found)))
    return found


def accumulate_reference(reference: ShowerFile) -> Sample:
    selections, _ = choose_selections(reference.conditions, reference.conditions)
    return accumulate(reference, selections, grid=replace(reference.grid, threshold_MeV=0.001))


def _lines(table: dict[str, dict[str, float]]) -> Iterator[str]:
    yield f"{'distortion (errors from none)':31s}" + "".join(f"{name:>17s}" for name in COLUMNS)
    for row, found in table.items():
        yield f"{row:31s}" + "".join(f"{found[name]:17.1f}" for name in COLUMNS)


@pytest.mark.parametrize("row", DISTORTIONS)
def test_each_distortion_is_found_by_the_number_that_should_find_it(
    row: str, table: dict[str, dict[str, float]]
) -> None:
    finders = DISTORTIONS[row][1].split()
    for column in finders:
        assert abs(table[row][column]) > FOUND, column


def test_without_a_distortion_all_is_quiet(table: dict[str, dict[str, float]]) -> None:
    for column, value in table["none"].items():
        assert abs(value) < FOUND, column


def test_numbers_do_not_answer_to_what_is_not_theirs(table: dict[str, dict[str, float]]) -> None:
    """What a distortion leaves alone keeps, to a fraction of its error, the value it had without it."""
    for row, column in (
        ("energies scaled by 1 %", "width_across"),
        ("energies scaled by 1 %", "barycentre_depth"),
        ("width smeared by 3 %", "barycentre_depth"),
        ("width smeared by 3 %", "energy_scale"),
        ("2 % of hits dropped", "barycentre_depth"),
    ):
        assert abs(table[row][column] - table["none"][column]) < 1, (row, column)
    for row, (_, finders) in DISTORTIONS.items():
        assert (table[row]["copies"] < FOUND) == ("copies" not in finders), row
