from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caloforge.foundations.errors import UsageError
from caloforge.foundations.units import DEGREE, GEV, Area, Spectrum

positive = st.floats(1e-6, 1e12)
uniform_numbers = st.lists(st.floats(0, 1, exclude_max=True), min_size=1).map(np.array)


@st.composite
def spectra(draw: st.DrawFn) -> Spectrum:
    values = draw(st.lists(positive, min_size=2, max_size=5, unique=True).map(sorted))
    kind: Literal["uniform", "log", "discrete"] = draw(st.sampled_from(["uniform", "log", "discrete"]))
    return Spectrum(kind, tuple(values if kind == "discrete" else (values[0], values[-1])))


def test_the_three_forms() -> None:
    assert Spectrum.parse("10:500", unit=GEV) == Spectrum("uniform", (10_000, 500_000))
    assert Spectrum.parse("log:1:1000", unit=GEV) == Spectrum("log", (1_000, 1_000_000))
    assert Spectrum.parse("50, 100,250", unit=GEV) == Spectrum("discrete", (50_000, 100_000, 250_000))
    assert Spectrum.parse("90", unit=DEGREE).values == pytest.approx((math.pi / 2,))


@given(spectra(), st.sampled_from([1.0, GEV, DEGREE]))
def test_what_is_written_is_read(spectrum: Spectrum, unit: float) -> None:
    colons = ":".join(map(repr, spectrum.values))
    text = {"uniform": colons, "log": f"log:{colons}", "discrete": ",".join(map(repr, spectrum.values))}
    read = Spectrum.parse(text[spectrum.kind], unit=unit)
    assert read.kind == spectrum.kind
    assert read.values == tuple(value * unit for value in spectrum.values)


@pytest.mark.parametrize(
    "text",
    ["", ":", "10:", ":10", "1:2:3", "log:1", "log:1:2:3", "log", "a:b", "10,,20", "-1", "0:10", "-5:5",
     "nan", "nan:5", "1:inf", "1e999", "log:0:1", "10;20", "x" * 10_000],
)  # fmt: skip
def test_anything_else_is_refused_naming_the_option(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Spectrum.parse(text, what="--energy")
    message = str(caught.value)
    assert message.startswith("--energy: expected a:b, log:a:b or a,b,c with positive numbers, got ")
    assert len(message) < 200


@pytest.mark.parametrize("text", ["500:10", "10:10", "log:5:5"])
def test_bounds_must_rise(text: str) -> None:
    with pytest.raises(UsageError, match="--theta: the lower bound must be below the upper one"):
        Spectrum.parse(text, what="--theta")


@given(st.text(alphabet="0123456789.,:log-+e nif", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        spectrum = Spectrum.parse(text)
    except UsageError:
        return
    assert 0 < spectrum.low <= spectrum.high < math.inf


@given(spectra(), uniform_numbers)
def test_quantiles_rise_and_stay_in_the_range(spectrum: Spectrum, u_N: np.ndarray) -> None:
    values = spectrum.quantile(np.sort(u_N))
    assert values.shape == u_N.shape
    assert (values >= spectrum.low).all()
    assert (values <= spectrum.high).all()
    assert (np.diff(values) >= 0).all()
    if spectrum.kind == "discrete":
        assert set(values) <= set(spectrum.values)


@given(spectra(), st.floats(0, 1, exclude_max=True))
def test_quantiles_invert_the_cumulative_distribution(spectrum: Spectrum, u: float) -> None:
    value = float(spectrum.quantile(np.array([u]))[0])
    low, high = spectrum.low, spectrum.high
    if spectrum.kind == "uniform":
        assert (value - low) / (high - low) == pytest.approx(
            u, abs=1e-3 * max(1, low / (high - low)) * 1e-6 + 1e-9
        )
    elif spectrum.kind == "log":
        width = math.log(high) - math.log(low)
        assume(width > 0)  # the ends' logarithms may round to the same number
        assert (math.log(value) - math.log(low)) / width == pytest.approx(u, abs=1e-9 + 1e-13 / width)
    else:
        assert spectrum.values[int(u * len(spectrum.values))] == value


def test_each_discrete_value_is_as_frequent_as_the_others() -> None:
    values = Spectrum("discrete", (3, 1, 2)).quantile((np.arange(3000) + 0.5) / 3000)
    assert [np.count_nonzero(values == value) for value in (1, 2, 3)] == [1000] * 3


def test_json_form() -> None:
    assert Spectrum.parse("log:1:10").to_json() == {"kind": "log", "values": [1.0, 10.0]}


@given(spectra(), st.floats(-500, 500), st.floats(0.1, 500))
def test_signed_numbers_are_read_where_they_make_sense(
    any_one: Spectrum, low: float, span: float
) -> None:
    assert Spectrum.parse(f"{low!r}:{low + span!r}", signed=True).values == (low, low + span)
    assert Spectrum.parse(f"{low!r},0", signed=True) == Spectrum("discrete", (low, 0.0))
    colons = ":".join(map(repr, any_one.values[:2]))
    with pytest.raises(UsageError, match="--phi: expected a:b or a,b,c with numbers, got 'log:"):
        Spectrum.parse(f"log:{colons}", what="--phi", signed=True)


side = st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)).map(lambda ends: tuple(sorted(ends)))


@given(side, side, uniform_numbers)
def test_points_of_an_area_lie_in_it(
    x: tuple[float, float], y: tuple[float, float], u_N: np.ndarray
) -> None:
    written = ",".join(f"{low!r}:{high!r}" for low, high in (x, y))
    area = Area.parse(written)
    assert (area.x_mm, area.y_mm) == (x, y)
    points = area.quantile(np.stack([u_N, 1 - u_N], axis=1))
    low, high = np.array([x, y]).T
    assert ((low <= points) & (points <= high)).all()
    assert Area.parse(f"{x[0]!r}:{x[1]!r}") == Area(x, x)
    point = Area.parse(f"{x[0]!r}, {y[1]!r}")
    np.testing.assert_array_equal(point.quantile(np.full((3, 2), 0.7)), [[x[0], y[1]]] * 3)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1,2,3", "2:1", "1:2:3", "1:2,", "a,b", "nan,1", "1,inf", "1:nan", "1;2", ":", "log:1:2"],
)
def test_what_is_no_area_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^--impact: expected X,Y in mm, a:b for a square, or a:b,c:d, got '"
    ):
        Area.parse(text, "--impact")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        *[("discrete", ()), ("discrete", (1.0, math.nan)), ("uniform", (1.0,)), ("uniform", (2.0, 1.0))],
        *[("log", (0.0, 1.0)), ("log", (1.0, math.inf)), ("uniform", (1.0, 2.0, 3.0))],
    ],
)
def test_a_spectrum_of_python_is_one(kind: Any, values: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=f"spectrum {kind}: expected finite"):
        Spectrum(kind, values)
