from __future__ import annotations

import math
from dataclasses import replace

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from shower_samples import SMALL_GRID, random_showers

from caloforge.detector import Grid
from caloforge.detector.grid import CYLINDRICAL
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.showers import NORMAL_INCIDENCE, Conditions, Showers

deposit = st.just(0.0) | st.floats(0, 1e6, width=32)


@st.composite
def any_showers(draw: st.DrawFn) -> Showers:
    shape = draw(st.tuples(*[st.integers(1, 4)] * 3))
    n = draw(st.integers(0, 4))
    axes = draw(st.sampled_from([("x", "y", "z"), CYLINDRICAL]))
    deposits = draw(nps.arrays(np.float32, (n, *shape), elements=deposit))
    energy = draw(nps.arrays(np.float32, n, elements=st.floats(1, 2**29, width=32)))
    theta = draw(nps.arrays(np.float32, n, elements=st.floats(0.125, 3, width=32)))
    return Showers(deposits, energy, theta, Grid("any", shape, axes=axes))


@given(any_showers(), st.floats(0, 1e6))
def test_above_a_threshold_cells_stay_as_they_are(showers: Showers, threshold: float) -> None:
    kept = showers.above(threshold)
    assert kept.deposits.dtype == np.float32
    seen = showers.deposits >= threshold
    np.testing.assert_array_equal(kept.deposits[seen], showers.deposits[seen])
    assert not kept.deposits[~seen].any()
    np.testing.assert_array_equal(kept.above(threshold).deposits, kept.deposits)
    assert kept.incident_energy is showers.incident_energy


@given(any_showers())
def test_hits_as_a_jagged_array_hold_every_deposit(showers: Showers) -> None:
    events = showers.to_awkward()
    assert len(events) == len(showers)
    assert ak.fields(events) == ["hits", "incident_energy", "incident_theta"]
    names = [f"i{axis}" for axis in showers.grid.axes]
    assert ak.fields(events.hits) == [*names, "energy"]
    rebuilt = np.zeros_like(showers.deposits)
    shower = ak.broadcast_arrays(np.arange(len(showers)), events.hits.energy)[0]
    cells = [ak.to_numpy(ak.flatten(events.hits[name])) for name in names]
    rebuilt[(ak.to_numpy(ak.flatten(shower)), *cells)] = ak.to_numpy(ak.flatten(events.hits.energy))
    np.testing.assert_array_equal(rebuilt, showers.deposits)
    np.testing.assert_array_equal(ak.to_numpy(events.incident_energy), showers.incident_energy)
    np.testing.assert_array_equal(ak.to_numpy(events.incident_theta), showers.incident_theta)


def test_one_shower_is_showers_too_and_all_of_them_are_iterated() -> None:
    showers = random_showers(4)
    for number, one in enumerate(showers):
        np.testing.assert_array_equal(one.deposits, showers.deposits[[number]])
        np.testing.assert_array_equal(showers[number - 4].incident_energy, one.incident_energy)
        np.testing.assert_array_equal(one.conditions.particle, showers.conditions.particle[[number]])
        assert len(one) == 1
    assert number == 3
    assert len(showers[np.int64(2)]) == 1
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            showers[beyond]


def test_showers_are_told_in_one_line_and_in_a_table() -> None:
    grid = replace(SMALL_GRID, name="<b>\n")
    showers = replace(random_showers(3, grid), pdg_id=np.array([11, 22, 22], np.int32))
    energy = showers.incident_energy
    said = f"{energy.min():,.0f} to {energy.max():,.0f} MeV"
    assert repr(showers).startswith(
        r"<Showers: 3 of <b>\n, 3 x 4 x 5 cells (x, y, z); e-, gamma; " + said
    )
    assert "\n" not in repr(showers)
    assert len(repr(showers)) < 200
    assert (
        r"<tr><th>detector</th><td>&lt;b&gt;\n, 3 x 4 x 5 cells (x, y, z)</td></tr>"
        in showers._repr_html_()
    )
    assert repr(showers[:0]) == r"<Showers: 0 of <b>\n, 3 x 4 x 5 cells (x, y, z)>"
    many = replace(random_showers(6), pdg_id=np.array([11, -11, 22, 13, 111, 999], np.int32))
    assert "and 2 more" in repr(many)


def test_positions_are_those_of_the_cells() -> None:
    x, y, z = random_showers(1).positions_mm()
    assert x.shape == y.shape == z.shape == SMALL_GRID.shape
    assert (x[1, 2, 0], y[1, 2, 0], z[1, 2, 0]) == (0, 0, 1.75)
    assert (x[2, 2, 4], y[1, 3, 4], z[1, 2, 4]) == pytest.approx((5.1, 5.1, 15.75))


def test_hits_lie_at_the_centres_of_their_cells() -> None:
    showers = random_showers(3)
    hits = showers.to_awkward().hits
    x, y, z = (5.1 * (hits.ix - 1), 5.1 * (hits.iy - 2), 3.5 * (hits.iz + 0.5))
    for found, expected in ((hits.x, x), (hits.y, y), (hits.z, z)):
        np.testing.assert_allclose(ak.flatten(found), ak.flatten(expected), rtol=1e-6)


@given(st.lists(st.integers(-7, 6), max_size=5), st.booleans())
def test_a_choice_of_showers_takes_every_column(index: list[int], as_slice: bool) -> None:
    showers = random_showers(7)
    chosen = slice(*sorted([0, *index[:1]])) if as_slice else np.array(index, np.int64)
    part = showers[chosen]
    names = ("incident_energy", "incident_theta", "incident_phi", "impact_xy", "pdg_id")
    np.testing.assert_array_equal(part.deposits, showers.deposits[chosen])
    for name in names:
        np.testing.assert_array_equal(getattr(part, name), getattr(showers, name)[chosen])
        np.testing.assert_array_equal(getattr(part.conditions, name), getattr(part, name))
    assert part.grid is showers.grid
    assert list(part.conditions.columns()) == list(names)


def test_conditions_of_anything_array_like() -> None:
    one = Conditions.of(5e4)
    assert one.incident_energy.tolist() == [5e4]
    assert one.incident_theta.tolist() == [np.float32(NORMAL_INCIDENCE)]
    two = Conditions.of([1e4, 2e4], 1.2)
    assert two.incident_theta.tolist() == [np.float32(1.2)] * 2
    assert Conditions.of([1e4, 2e4], [1.0, 2.0])[1:].incident_theta.tolist() == [2.0]
    assert len(Conditions.of([])) == 0
    all_told = Conditions.of([1e4, 2e4], 1.2, [0.5, -0.5], (1.0, 2.0), 22)
    assert all_told.phi.tolist() == [0.5, -0.5]
    assert all_told.impact_xy is not None
    assert all_told.impact_xy.tolist() == [[1.0, 2.0]] * 2
    assert all_told.particle.tolist() == [22, 22]


def test_what_is_not_told_is_an_electron_in_the_y_z_plane_somewhere() -> None:
    two = Conditions.of([1e4, 2e4])
    assert two.phi.tolist() == [np.float32(math.pi / 2)] * 2
    assert two.particle.tolist() == [11, 11]
    assert list(two.columns()) == ["incident_energy", "incident_theta"]
    assert two[:1].impact_xy is None


@pytest.mark.parametrize("energy", [0.0, -1.0, math.nan, math.inf, 1.1e9])
def test_an_impossible_energy_is_refused_naming_the_shower(energy: float) -> None:
    with pytest.raises(
        CaloforgeError, match=r"field incident_energy: expected 0 < E <= 1e9 MeV, shower 1 has"
    ):
        Conditions.of([1e4, energy])


@pytest.mark.parametrize("theta", [0.0, -1.0, math.pi, 90.0, math.nan])
def test_an_impossible_angle_is_refused_naming_the_shower(theta: float) -> None:
    with pytest.raises(
        CaloforgeError, match=r"field incident_theta: expected 0 < theta < pi rad, shower 2 has"
    ):
        Conditions.of([1e4] * 3, [1.0, 2.0, theta])


@given(
    st.lists(
        st.tuples(
            st.floats(1e3, 1e5),
            st.floats(0.5, 2.6),
            st.floats(-3, 3),
            st.floats(-9, 9),
            st.sampled_from([11, 22]),
        ),
        min_size=2,
        max_size=2,
    )
)
def test_two_particles_in_one_keep_their_energy_and_their_direction(
    pair: list[tuple[float, ...]],
) -> None:
    energy, theta, phi, x, pdg = (np.array(column) for column in zip(*pair, strict=True))
    both = Conditions.of(energy, theta, phi, np.stack([x, x], 1), pdg).overlaid(2)
    assert len(both) == 1
    assert both.incident_energy[0] == pytest.approx(energy.sum(), rel=1e-6)
    assert both.impact_xy is not None
    np.testing.assert_allclose(
        both.impact_xy[0], (energy * x).sum() / energy.sum(), rtol=1e-4, atol=1e-4
    )
    assert both.particle[0] == 0
    found_theta, found_phi = float(both.incident_theta[0]), float(both.phi[0])
    along = np.array([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)]) @ energy
    found = [
        math.cos(found_theta) * math.cos(found_phi),
        math.cos(found_theta) * math.sin(found_phi),
        math.sin(found_theta),
    ]
    np.testing.assert_allclose(found, along / np.linalg.norm(along), atol=1e-5)
    same = Conditions.of(energy[[0, 0]], theta[[0, 0]]).overlaid(2)
    assert same.incident_theta[0] == pytest.approx(theta[0], abs=1e-6)
    np.testing.assert_array_equal(same.phi, np.float32(math.pi / 2))


@given(st.integers(1, 4), st.integers(0, 3))
def test_every_few_showers_in_a_row_add_up_to_one(k: int, n: int) -> None:
    single = random_showers(k * n)
    together = single.overlaid(k)
    assert len(together) == n
    for i, shower in enumerate(together):
        expected = single.deposits[k * i : k * (i + 1)].sum(axis=0)
        np.testing.assert_array_equal(shower.deposits[0], expected)
    for name, values in together.conditions.columns().items():
        np.testing.assert_array_equal(values, single.conditions.overlaid(k).columns()[name])
    assert together.conditions.particle.tolist() == [11 if k == 1 else 0] * n
    assert together.provenance == {**single.provenance, "overlay": k}


def test_what_does_not_add_up_is_refused() -> None:
    for k in (0, 2):
        with pytest.raises(UsageError, match=f"overlay: expected a multiple of {k} showers, got 3"):
            random_showers(3).overlaid(k)
    read_out = Grid("g", (2, 2, 2), extra={"digitised": True})
    with pytest.raises(UsageError, match="overlay: showers of 'g' are digitised already"):
        random_showers(4, read_out).overlaid(2)


@pytest.mark.parametrize("phi", [6.3, -6.3, 90.0, math.nan, math.inf])
def test_an_impossible_azimuth_is_refused_naming_the_shower(phi: float) -> None:
    with pytest.raises(
        CaloforgeError, match=r"field incident_phi: expected -2 pi <= phi <= 2 pi rad, shower 1 has"
    ):
        Conditions.of([1e4] * 3, 1.0, [2 * math.pi, phi, -2 * math.pi])


def test_shapes_must_fit_each_other() -> None:
    showers = random_showers(3)
    columns = {
        name: getattr(showers, name) for name in ("deposits", "incident_energy", "incident_theta")
    }
    with pytest.raises(CaloforgeError, match=r"expected deposits \(N, 3, 4, 5\), got \(3, 5, 4, 3\)"):
        Showers(**columns | {"deposits": showers.deposits.transpose(0, 3, 2, 1)}, grid=SMALL_GRID)
    with pytest.raises(
        CaloforgeError, match=r"field incident_energy: expected shape \(3,\), got \(2,\)"
    ):
        Showers(**columns | {"incident_energy": showers.incident_energy[:2]}, grid=SMALL_GRID)
    with pytest.raises(CaloforgeError, match=r"field impact_xy: expected shape \(3, 2\)"):
        Showers(**columns, grid=SMALL_GRID, impact_xy=np.zeros((3, 3), np.float32))
    with pytest.raises(
        CaloforgeError, match=r"field incident_energy: expected shape \(2,\), got \(2, 2\)"
    ):
        Conditions.of(np.ones((2, 2)), 1.0)
    wrong: dict[str, tuple[object, ...]] = {
        "incident_theta": ([1.0] * 3,),
        "incident_phi": (1.0, [1.0] * 3),
        "impact_xy": (1.0, 1.0, [[0.0, 0.0]] * 3),
        "pdg_id": (1.0, 1.0, (0.0, 0.0), [11] * 3),
    }
    for name, values in wrong.items():
        with pytest.raises(CaloforgeError, match=rf"field {name}: expected shape \(2.*, got \(3"):
            Conditions.of([1.0, 2.0], *values)


def test_an_infinite_impact_point_is_refused() -> None:
    showers = random_showers(3)
    impact = np.array([[0, 0], [1, np.inf], [0, 0]], np.float32)
    with pytest.raises(
        CaloforgeError, match="field impact_xy: expected finite positions in mm, shower 1"
    ):
        Showers(showers.deposits, showers.incident_energy, showers.incident_theta, SMALL_GRID, impact)
