"""The cost model against closed forms, against a simulation of gloo's ring, and in its order."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.scaling.cost_model import (
    Bucket,
    Link,
    LossStep,
    best_s,
    gloo_mesh_s,
    gloo_ring_s,
    halving_doubling_s,
    hierarchical_s,
    recursive_doubling_s,
    ring_s,
    slowest_normal_s,
    slowest_of_s,
    step_time,
)

links = st.builds(Link, st.floats(1e-7, 1e-2), st.floats(1e-11, 1e-6))
workers = st.integers(2, 512)
sizes = st.floats(1e3, 1e8)
WAYS = (ring_s, recursive_doubling_s, halving_doubling_s, gloo_ring_s, best_s)


def test_closed_forms() -> None:
    link = Link(2.0, 0.5)
    assert ring_s(4, 8, link) == 2 * 3 * (2 + 2 * 0.5)
    assert recursive_doubling_s(8, 4, link) == 3 * (2 + 4 * 0.5)
    assert recursive_doubling_s(7, 4, link) == 4 * (2 + 4 * 0.5)
    assert halving_doubling_s(8, 16, link) == 2 * 3 * 2 + 2 * (7 / 8) * 16 * 0.5
    assert halving_doubling_s(9, 16, link) == halving_doubling_s(8, 16, link) + 2 * (2 + 16 * 0.5)
    assert Link.of_rate(1.0, 1e9).message_s(125) == pytest.approx(1 + 1e-6)


@given(links, workers, sizes, st.floats(1, 10))
def test_more_bytes_or_a_slower_link_never_take_less(
    link: Link, n: int, size: float, more: float
) -> None:
    slower = Link(link.latency_s * more, link.s_per_byte * more)
    for way in WAYS:
        assert way(n, size, link) * (1 - 1e-12) <= way(n, size, slower)
        assert way(n, size, link) * (1 - 1e-12) <= way(n, size * more, link)


@given(links, st.integers(1, 256), sizes)
def test_more_workers_never_take_less_in_a_ring(link: Link, n: int, size: float) -> None:
    assert ring_s(n, size, link) <= ring_s(n + 1, size, link)


@given(links, workers, sizes)
def test_none_moves_fewer_bytes_than_is_possible(link: Link, n: int, size: float) -> None:
    least = 2 * (1 - 1 / n) * size * link.s_per_byte
    for way in (ring_s, gloo_ring_s):
        assert way(n, size, link) >= least * (1 - 1e-9)
    power = 1 << (n.bit_length() - 1)
    assert halving_doubling_s(n, size, link) >= 2 * (1 - 1 / power) * size * link.s_per_byte * (1 - 1e-9)


@given(st.integers(0, 9), sizes, links)
def test_where_rings_lose_to_halving(power: int, size: float, link: Link) -> None:
    # Equal bytes, fewer messages: halving is never worse where n is a power of two.
    assert halving_doubling_s(1 << power, size, link) <= ring_s(1 << power, size, link) * (1 + 1e-9)


def simulated_ring_s(n: int, size: float, link: Link) -> float:
    """Follow every segment of one of n equal workers: its data, its permission, its cable."""
    segments = max(2, math.ceil(size / n / (1 << 20)))
    length_s = size / n / segments * link.s_per_byte
    now = 0.0
    for _ in range(2):
        arrived, free = deque([now] * segments, segments), now
        posted = deque([now, now], 2)
        for _ in range((n - 1) * segments):
            begin = max(free, arrived[0], posted[0] + link.latency_s)
            free = begin + length_s
            arrived.append(free + link.latency_s)
            posted.append(free + link.latency_s)
        now = arrived[-1]
    return now


@given(links, st.integers(2, 64), st.floats(1e2, 3e7))
def test_gloo_ring_is_what_its_rules_give(link: Link, n: int, size: float) -> None:
    assert gloo_ring_s(n, size, link) == pytest.approx(simulated_ring_s(n, size, link), rel=1e-9)


def test_one_worker_sends_nothing() -> None:
    link = Link(1.0, 1.0)
    assert [way(1, 1000, link) for way in WAYS] == [0.0] * len(WAYS)
    step = step_time([LossStep(3.0, 1.0, (Bucket(10),))], 1, lambda size: 99.0)
    assert step.total_s == step.compute_s == 3.0


def test_a_node_first_saves_latencies_between_nodes() -> None:
    within, between = Link(1e-6, 1e-10), Link(1e-4, 1e-9)
    flat = ring_s(64, 4e6, between)
    first = hierarchical_s(4, 4e6, within, lambda size: ring_s(16, size, between))
    assert first < flat
    assert first == ring_s(4, 4e6, within) + ring_s(16, 4e6, between)


def test_a_mesh_by_its_messages() -> None:
    link, free = Link(2.0, 0.5), Link(0.0, 0.0)
    assert gloo_mesh_s((1, 1, 1), 16, link, link) == 0
    assert gloo_mesh_s((1, 8, 1), 16, link, link) == gloo_ring_s(8, 16, link)
    assert gloo_mesh_s((2, 4, 1), 16, link, link) == gloo_ring_s(2, 16, link) + gloo_ring_s(4, 16, link)
    # Within a node of two: half a ring, the other's half of the sum, and the sum back.
    node = gloo_ring_s(2, 16, link) / 2 + (2 * 2 + 8 * 0.5) + (2 * 2 + 16 * 0.5)
    assert gloo_mesh_s((1, 1, 2), 16, free, link) == node


def test_rows_and_columns_pay_where_latency_counts() -> None:
    slow, thin, free = Link(1e-3, 1e-12), Link(1e-9, 1e-8), Link(0.0, 0.0)
    assert gloo_mesh_s((8, 16, 1), 4e6, slow, free) < 0.2 * gloo_ring_s(128, 4e6, slow)
    assert gloo_mesh_s((8, 16, 1), 4e6, thin, free) < 2 * gloo_ring_s(128, 4e6, thin)


def test_the_slowest_of_n_by_counting() -> None:
    assert slowest_of_s([1.0, 2.0], 2) == 1.75  # of four equally likely pairs three have a 2
    assert slowest_of_s([3.0, 1.0, 2.0], 1) == pytest.approx(2.0)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(1, 300))
def test_the_slowest_lies_between_mean_and_largest(times: list[float], n: int) -> None:
    slowest = slowest_of_s(times, n)
    assert slowest <= max(times) * (1 + 1e-9)
    assert slowest >= sum(times) / len(times) * (1 - 1e-9)
    assert slowest <= slowest_of_s(times, n + 1) * (1 + 1e-9)


@pytest.mark.parametrize("n", [2, 16, 512])
def test_the_slowest_of_n_normal_times(n: int) -> None:
    draws = np.random.default_rng(1).normal(10, 2, (4000, n)).max(1)
    assert slowest_normal_s(10, 2, n) == pytest.approx(draws.mean(), abs=0.08)
    assert slowest_normal_s(10, 0, n) == 10


def test_communication_hides_behind_the_backward_pass() -> None:
    turn = LossStep(10.0, 0.0, (Bucket(3, before_end_s=5), Bucket(2, before_end_s=4), Bucket(1)))
    # Starts at -5, is at -2 when the second could start at -4, so at 0; then the last one.
    assert turn.exposed_s(lambda size: size) == 1.0
    assert turn.exposed_s(lambda size: 0.0) == 0.0
    together = LossStep(10.0, 0.0, (Bucket(6),))
    assert together.exposed_s(lambda size: size) == 6.0


@given(links, workers, st.floats(0, 1), st.floats(0, 0.1))
def test_hiding_and_evenness_never_cost(link: Link, n: int, before: float, sigma: float) -> None:
    def reduce(size: float) -> float:
        return ring_s(n, size, link)

    hidden = step_time([LossStep(1.0, sigma, (Bucket(1e6, before), Bucket(1e6)))], n, reduce)
    bare = step_time([LossStep(1.0, sigma, (Bucket(1e6), Bucket(1e6)))], n, reduce)
    even = step_time([LossStep(1.0, 0.0, (Bucket(1e6), Bucket(1e6)))], n, reduce)
    assert hidden.total_s <= bare.total_s + 1e-12
    assert even.total_s <= bare.total_s
    assert bare.total_s == pytest.approx(bare.compute_s + bare.waiting_s + bare.communication_s)
