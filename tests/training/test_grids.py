"""Which way a sum takes: its cost against closed forms, and the choice where it matters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.training.grids import Link, _factors, best_way, gloo_ring_s, grid_s, way_s

MB = 1 << 20


def test_a_grid_by_its_messages() -> None:
    link = Link(2.0, 0.5, busy_s=0.25)
    # Two exchanges along each direction: two latencies, a wait for each further message, the bytes sent.
    assert grid_s((4,), 8, link) == 2 * (2 * 2 + 2 * 0.25 + 6 * 0.5)
    assert grid_s((3, 4), 12, link) == 2 * (2 * 2 + 2 * 0.25 + 9 * 0.5) + 2 * (2 * 2 + 0.25 + 2 * 0.5)
    assert grid_s((1, 1), 12, link) == 0
    free = Link(0.0, 0.0)
    assert grid_s((3, 4), 12, link, free, 4) == 2 * (2 * 2 + 0.25 + 2 * 0.5)
    assert grid_s((3, 2, 2), 12, link, free, 4) == grid_s((3, 4), 12, link, free, 4)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5), st.floats(1e3, 1e8))
def test_a_grid_moves_as_few_bytes_as_is_possible(sides: list[int], size: float) -> None:
    n = math.prod(sides)
    assert grid_s((*sides,), size, Link(0.0, 1.0)) == pytest.approx(2 * (1 - 1 / n) * size)


@given(st.integers(1, 600))
def test_factors(n: int) -> None:
    found = [*_factors(n)]
    assert len(set(found)) == len(found)
    assert all(math.prod(sides) == n and list(sides) == sorted(sides) for sides in found)
    assert found[0] == ((n,) if n > 1 else ())


@given(st.integers(1, 200), st.integers(1, 8), st.floats(1e4, 1e7))
def test_the_choice_is_a_way_of_all_workers_within_nodes_first(
    nodes: int, per_node: int, size: float
) -> None:
    way = best_way(nodes, per_node, size)
    link = Link(50e-6, 1e-9, 40e-6)
    ring_s = gloo_ring_s(nodes * per_node, size, link)
    if isinstance(way, int):
        assert way == nodes * per_node
        return
    assert math.prod(way) == nodes * per_node
    assert way_s(way, size, link) < 0.8 * ring_s
    inner = 1
    for n in reversed(way):
        if inner == per_node:
            break
        inner *= n
    assert inner == per_node  # no direction begins within a node and ends in another


def test_few_workers_stay_in_a_ring_and_many_do_not() -> None:
    assert best_way(1, 2, MB) == 2
    assert best_way(1, 4, MB) == 4
    assert best_way(2, 4, MB) == 8
    many = best_way(128, 4, MB)
    assert isinstance(many, tuple)
    assert way_s(many, MB, Link(50e-6, 1e-9, 40e-6)) < 0.1 * way_s(512, MB, Link(50e-6, 1e-9))
    assert best_way(127, 4, MB) != 508  # a prime number of nodes
    assert best_way(4, 4, 100 * MB) == 16  # here the bytes count
