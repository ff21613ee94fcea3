"""Numbers react to the distortion that they should see, and to no other; and their errors are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from caloforge.comparison.differences import Comparison, Metrics, bin_edges, separation
from caloforge.comparison.samples import accumulate, assign_groups
from caloforge.comparison.selections import INCLUSIVE, choose_selections
from caloforge.detector import Grid
from caloforge.files import shower_file, shower_writer
from caloforge.files.shower_file import ShowerFile
from caloforge.observables.definitions import observables
from caloforge.showers import Showers

GEANT4 = Path(str(resources.files("caloforge"))) / "data" / "clic-ecal-test.h5"
THRESHOLD = 0.001


@cache
def geant4() -> Showers:
    """Real showers of ``clic-ecal``, 400 of them."""
    return shower_file.read(GEANT4)


def compare(tmp_path: Path, reference: Showers, candidate: Showers) -> Comparison:
    files = []
    for name, showers in (("reference", reference), ("candidate", candidate)):
        path = tmp_path / f"{name}.h5"
        with shower_writer.ShowerWriter(path, showers.grid, {}) as writer:
            writer.append(showers)
        files.append(ShowerFile(path))
    grid = replace(reference.grid, threshold_MeV=THRESHOLD, layer_pitch_mm=3.5)
    with files[0] as ours, files[1] as theirs:
        selections, _ = choose_selections(ours.conditions, theirs.conditions)
        n_groups = min(20, len(ours), len(theirs))
        return Comparison(
            *(accumulate(f, selections, grid=grid, n_groups=n_groups) for f in (ours, theirs))
        )


def number(metrics: Metrics, name: str) -> float:
    value = metrics[name]
    assert value is not None, name
    return float(value)


def test_streaming_gives_what_the_whole_array_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of the file do not matter: means, spreads and values equal those of one array."""
    monkeypatch.setattr("caloforge.comparison.samples.CELLS_AT_ONCE", 40 * 25**3)
    monkeypatch.setattr("caloforge.files.shower_writer.CHUNK_BYTES", 4 * 25**3 * 8)
    calls: list[tuple[int, int]] = []
    grid = replace(geant4().grid, threshold_MeV=THRESHOLD, layer_pitch_mm=3.5)
    path = tmp_path / "showers.h5"
    shower_writer.write(path, geant4())
    with ShowerFile(path) as file:
        selections, _ = choose_selections(file.conditions, file.conditions)
        sample = accumulate(
            file, selections, grid=grid, progress=lambda done, total, **_: calls.append((done, total))
        )
    assert len(calls) == 10
    assert calls[-1] == (400, 400)
    whole = observables(replace(geant4().above(THRESHOLD), grid=grid))
    summary = sample.summary()
    for name, values in whole.items():
        if values.ndim == 1:
            np.testing.assert_array_equal(sample.values[name], values.astype(np.float32))
        for index, selection in enumerate(selections):
            inside = values[selection.mask(geant4().conditions)].reshape(int(summary.count_S[index]), -1)
            mean, spread = inside.mean(axis=0), inside.std(axis=0, ddof=1)
            np.testing.assert_allclose(summary.mean(name)[index], mean, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(summary.spread(name)[index], spread, rtol=1e-4, atol=1e-6)
            error = spread / np.sqrt(len(inside))
            np.testing.assert_allclose(summary.error(name)[index], error, rtol=1e-4, atol=1e-6)


def test_groups_share_the_showers_evenly_and_a_longer_file_only_adds() -> None:
    groups = assign_groups(413, 20)
    assert set(np.bincount(groups)) == {20, 21}
    np.testing.assert_array_equal(assign_groups(1000, 20)[:413], groups)


def test_a_file_against_itself_is_perfect(tmp_path: Path) -> None:
    metrics = compare(tmp_path, geant4(), geant4()).metrics()
    for name, value in metrics.items():
        if name.endswith("_floor") or value is None or name.startswith("mean_ratio.moment3_"):
            continue
        if name == "energy_bins":  # titles
            continue
        if isinstance(value, list):
            assert value == pytest.approx([0] * 5, abs=1e-12), name
        elif name.endswith("_err"):
            assert value == pytest.approx(0, abs=1e-12), name
        elif name.startswith("mean_ratio."):
            assert value == pytest.approx(1, abs=1e-12), name
        elif name.endswith("_error") or name.startswith(("separation.", "legacy")):
            assert value == pytest.approx(0, abs=1e-12), name


def smear(showers: Showers) -> Showers:
    """Return a twentieth of each cell's deposit to each of its two neighbours in x."""
    d = showers.deposits
    wider = 0.9 * d
    wider[:, 1:] += 0.05 * d[:, :-1]
    wider[:, :-1] += 0.05 * d[:, 1:]
    return replace(showers, deposits=wider.astype(np.float32))


def shift(showers: Showers) -> Showers:
    """Move everything one layer deeper; what leaves the back comes in at the front, which is nearly empty."""
    return replace(showers, deposits=np.roll(showers.deposits, 1, axis=3))


def scale(showers: Showers) -> Showers:
    return replace(showers, deposits=showers.deposits * np.float32(1.05))


def drop(showers: Showers) -> Showers:
    """Lose a fifth of the hits below 0.1 MeV, which hardly changes the deposit."""
    lost = (showers.deposits < 0.1) & (np.random.default_rng(5).random(showers.deposits.shape) < 0.2)
    return replace(showers, deposits=np.where(lost, np.float32(0), showers.deposits))


DISTORTIONS: dict[str, tuple[Callable[[Showers], Showers], set[str]]] = {
    "scaled by 5 %": (
        scale,
        {
            "mean_ratio.sampling_fraction",
            "sampling_fraction.max_abs_ratio_error",
            "mean_ratio.total_deposit",
        },
    ),
    "shifted by one layer": (
        shift,
        {"shape.z.mean_rel_error", "mean_ratio.moment1_z", "mean_ratio.barycentre_depth"},
    ),
    "wider in x": (smear, {"shape.x.mean_rel_error", "mean_ratio.width_x", "mean_ratio.moment2_x"}),
    "small hits lost": (drop, {"mean_ratio.hits", "separation.cell_energy"}),
}
WATCHED = sorted(set.union(*(names for _, names in DISTORTIONS.values())))
SIDE_EFFECTS = {
    ("scaled by 5 %", "separation.cell_energy"),
    ("wider in x", "separation.cell_energy"),
    ("wider in x", "mean_ratio.hits"),
}


@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_distortion_is_seen_by_its_number_and_by_no_other(tmp_path: Path, name: str) -> None:
    distort, seen = DISTORTIONS[name]
    metrics = compare(tmp_path, geant4(), distort(geant4())).metrics()
    for watched in WATCHED:
        if (name, watched) in SIDE_EFFECTS:
            continue
        deviation = abs(number(metrics, watched) - (1 if watched.startswith("mean_ratio") else 0))
        if watched == "separation.cell_energy":
            deviation **= 0.5  # it is the square of a difference
        assert (deviation > 0.008) == (watched in seen), f"{watched}: {metrics[watched]}"


def test_a_scale_of_five_per_cent_is_measured_exactly(tmp_path: Path) -> None:
    """The same showers in the same order: errors know that the samples move together."""
    metrics = compare(tmp_path, geant4(), scale(geant4())).metrics()
    assert number(metrics, "mean_ratio.total_deposit") == pytest.approx(1.05, abs=5e-5)
    assert number(metrics, "mean_ratio.total_deposit_err") < 1e-4
    assert number(metrics, "sampling_fraction.max_abs_ratio_error") == pytest.approx(0.05, abs=2e-4)
    assert number(metrics, "legacy_3dgan_metric") == pytest.approx(0.05, abs=0.01)


def test_a_shift_of_one_layer_is_one_cell(tmp_path: Path) -> None:
    compared = compare(tmp_path, geant4(), shift(geant4()))
    ours, theirs = (s.mean("maximum_z")[0, 0] for s in compared.summaries)
    assert theirs - ours == pytest.approx(1, abs=0.05)


def test_a_wrong_shape_is_told_in_the_bin_of_energy_that_has_it(tmp_path: Path) -> None:
    showers = geant4()
    compared = compare(tmp_path, showers, showers)
    top = compared.reference.selections[compared.energy_bins[-1]].mask(showers.conditions)
    deposits = showers.deposits.copy()
    deposits[top] = np.roll(deposits[top], 1, axis=3)  # one layer deeper
    metrics = compare(tmp_path, showers, replace(showers, deposits=deposits)).metrics()
    for name in ("shape.z.mean_rel_error", "shape.x.mean_rel_error", "separation.cell_energy"):
        assert metrics[f"{name}_by_energy"][:4] == pytest.approx([0] * 4, abs=1e-12)
    assert metrics["shape.z.mean_rel_error_by_energy"][4] > 0.05
    assert metrics["shape.z.mean_rel_error_by_energy"][4] > metrics["shape.z.mean_rel_error"] > 0.01


def test_halves_of_one_source_agree_within_their_errors(tmp_path: Path) -> None:
    """Real Geant4 showers, odd against even: pulls are of order one, and errors near their floors."""
    compared = compare(tmp_path, geant4()[::2], geant4()[1::2])
    metrics = compared.metrics()
    ratios = [name for name in metrics if name.startswith("mean_ratio.") and not name.endswith("_err")]
    pulls = np.array(
        [
            (number(metrics, name) - 1) / number(metrics, f"{name}_err")
            for name in ratios
            if metrics[name] is not None and number(metrics, f"{name}_err") > 0
        ]
    )
    assert len(pulls) > 20
    assert np.abs(pulls).max() < 4
    floors = [name for name in metrics if name.endswith("_floor") and "_by_energy" not in name]
    for name in floors:
        value, floor = metrics[name.removesuffix("_floor")], metrics[name]
        if value is None or floor is None or "maximum_x" in name or "maximum_y" in name:
            continue  # nearly all showers have their maximum in one column
        assert value <= 4 * floor, name


@pytest.mark.long
def test_errors_and_floors_are_those_of_repeated_experiments(tmp_path: Path) -> None:
    """Draw many pairs of samples from one source: the quoted error is the scatter, the floor the mean.

    What is all noise and never negative scatters less than its jackknife says, never more.
    """
    rng = np.random.default_rng(5)
    grid = Grid("tiny", (3, 3, 6))
    profile = np.array([1, 3, 6, 5, 3, 1])

    def sample() -> Showers:
        image = rng.gamma(0.5, 1.0, (150, 3, 3, 6)) * profile
        energy = np.full(150, 1e4, np.float32)
        return Showers(image.astype(np.float32), energy, np.full(150, 1.5, np.float32), grid)

    names = ("mean_ratio.total_deposit", "separation.total_deposit", "shape.z.mean_rel_error")
    found = [compare(tmp_path, sample(), sample()).metrics() for _ in range(40)]
    for name in names:
        values = np.array([number(metrics, name) for metrics in found])
        errors = np.array([number(metrics, f"{name}_err") for metrics in found])
        cautious = 1.3 if name.startswith("mean_ratio") else 2.5
        assert 0.7 < errors.mean() / values.std() < cautious, name
        if not name.startswith("mean_ratio"):
            floors = np.array([number(metrics, f"{name}_floor") for metrics in found])
            assert floors.mean() == pytest.approx(values.mean(), rel=0.2), name


def test_empty_showers_are_counted_and_leave_no_nan(tmp_path: Path) -> None:
    broken = replace(geant4(), deposits=geant4().deposits.copy())
    broken.deposits[:5] = 0
    metrics = compare(tmp_path, geant4(), broken).metrics()
    assert (metrics["n_empty_reference"], metrics["n_empty_candidate"]) == (0, 5)
    del metrics["energy_bins"]  # titles
    numbers = [x for value in metrics.values() for x in (value if isinstance(value, list) else [value])]
    assert all(value is None or np.isfinite(value) for value in numbers)
    assert number(metrics, "mean_ratio.moment1_z") == pytest.approx(1, abs=0.01)
    silent = replace(geant4(), deposits=np.zeros_like(geant4().deposits))
    metrics = compare(tmp_path, geant4(), silent).metrics()
    assert metrics["separation.moment1_z"] is None
    assert metrics["mean_ratio.moment1_z"] is None
    assert metrics["mean_ratio.total_deposit"] == 0
    assert number(metrics, "separation.total_deposit") > 0.9


def test_two_showers_are_enough_to_compare(tmp_path: Path) -> None:
    metrics = compare(tmp_path, geant4()[:2], geant4()[2:4]).metrics()
    assert metrics["sampling_fraction.max_abs_ratio_error"] is None
    assert metrics["sampling_fraction.n_bins"] == 0
    assert number(metrics, "mean_ratio.sampling_fraction") == pytest.approx(1, abs=0.3)


counts = arrays(np.float64, 8, elements=st.integers(0, 50).map(float))


@settings(deadline=None)
@given(p=counts, q=counts)
def test_separation_is_a_symmetric_distance_between_0_and_1(
    p: NDArray[np.float64], q: NDArray[np.float64]
) -> None:
    if p.sum() == 0 or q.sum() == 0:
        assert np.isnan(separation(p, q))
        return
    value = separation(p, q)
    assert 0 <= value <= 1 + 1e-12
    assert value == pytest.approx(separation(q, p))
    assert separation(p, 3 * p) == pytest.approx(0, abs=1e-15)
    if not (p * q).any():
        assert value == pytest.approx(1)
    slow = sum(
        0.5 * (a - b) ** 2 / (a + b) for a, b in zip(p / p.sum(), q / q.sum(), strict=True) if a + b > 0
    )
    assert value == pytest.approx(slow)


def test_separation_of_two_gaussians_is_that_of_their_densities() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 1, 200_000).astype(np.float32), rng.normal(1, 1, 200_000).astype(np.float32)
    edges = bin_edges(a, b, discrete=False)
    found = separation(
        *(np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0].astype(float) for v in (a, b))
    )
    x = np.linspace(-9, 10, 20001)
    p, q = (np.exp(-((x - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (0, 1))
    exact = 0.5 * ((p - q) ** 2 / (p + q)).sum() * (x[1] - x[0])
    assert found == pytest.approx(exact, rel=0.02)


@settings(deadline=None)
@given(
    values=arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=16)),
    discrete=st.booleans(),
)
def test_bins_hold_all_values_of_small_samples(values: NDArray[np.float32], discrete: bool) -> None:
    values = np.round(values) if discrete else values
    edges = bin_edges(values, values, discrete=discrete)
    assert (np.diff(edges) > 0).all()
    assert edges[0] < values.min()
    assert values.max() < edges[-1]
    if discrete:
        np.testing.assert_allclose(edges % 1, 0.5)


def test_the_inclusive_selection_is_everything() -> None:
    assert INCLUSIVE.mask(geant4().conditions).all()
