"""What gloo adds to the wire is found again in times that were made from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.scaling.calibration import Point, Way, fit_software, relative_errors
from studies.scaling.cost_model import Link

WIRES = [Link.of_rate(latency, rate) for latency in (1e-4, 1e-3) for rate in (1e8, 1e9)]
SIZES = (65_536, 300_000, 3_500_000)
WAYS: tuple[Way, ...] = (2, 3, (2, 2, 1))


def points(software: Link, noise: float = 0.0) -> list[Point]:
    random = np.random.default_rng(1)
    wanted = [Point(wire, way, size, 1.0) for wire in WIRES for way in WAYS for size in SIZES]
    return [
        replace(point, seconds=point.predicted_s(software) * (1 + noise * random.standard_normal()))
        for point in wanted
    ]


@settings(max_examples=15)
@given(st.floats(1e-6, 5e-4), st.floats(0, 2e-9))
def test_what_was_put_in_comes_out(latency_s: float, s_per_byte: float) -> None:
    found = fit_software(points(Link(latency_s, s_per_byte)))
    assert found.latency_s == pytest.approx(latency_s, rel=1e-3, abs=1e-9)
    assert found.s_per_byte == pytest.approx(s_per_byte, rel=1e-3, abs=1e-13)


def test_errors_are_as_large_as_the_noise() -> None:
    noisy = points(Link(2e-4, 4e-10), noise=0.05)
    found = fit_software(noisy)
    assert found.latency_s == pytest.approx(2e-4, rel=0.2)
    errors = relative_errors(noisy, found)
    assert 0.03 < np.std(errors) < 0.07
    assert len(errors) == len(noisy)


def test_a_wire_faster_than_it_says_adds_nothing_negative() -> None:
    faster = [replace(p, seconds=p.seconds / 2) for p in points(Link(0.0, 0.0))]
    found = fit_software(faster)
    assert found == Link(0.0, 0.0)
    assert min(relative_errors(faster, found)) == pytest.approx(1.0)
