"""Which trials are good, with one objective and with several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from caloforge.foundations.errors import CaloforgeError
from caloforge.search.space import load_space
from caloforge.search.trials import Proposal, State, Trial, crowding, draw, front_ranks, standings

objectives = arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(1, 3)),
    elements=st.integers(0, 4).map(float),
)


def trial(number: int, *values: float, state: State = "done") -> Trial:
    return Trial(number, Proposal({"model": "copula"}), state, values)


@pytest.mark.parametrize("parent", [1, 2, -1, "0", 0.5])
def test_a_parent_came_before_its_child(parent: Any) -> None:
    with pytest.raises(CaloforgeError, match="trial 1: expected an earlier trial as its parent"):
        Trial(1, Proposal({"model": "copula"}, parent=parent), "done")


@given(objectives)
def test_a_front_is_beaten_by_the_one_before_alone(values_TO: np.ndarray) -> None:
    ranks = front_ranks(values_TO)
    for i, ours in enumerate(values_TO):
        better = [
            ranks[j]
            for j, theirs in enumerate(values_TO)
            if (theirs <= ours).all() and (theirs < ours).any()
        ]
        assert ranks[i] == max(better, default=-1) + 1


def test_the_ends_of_a_front_and_those_alone_have_most_room() -> None:
    room = crowding(np.array([[0, 4.0], [1, 3], [1.5, 2.5], [4, 0]]))
    assert room[0] == room[3] == np.inf
    assert room[2] > room[1]


def test_standings_hold_what_is_done_best_first() -> None:
    trials = [
        trial(0, 3.0),
        trial(1, state="stopped"),
        trial(2, 1.0),
        trial(3, state="failed"),
        trial(4, 2.0),
        trial(5, 1.0),
        trial(6, state="running"),
    ]
    assert [it.number for it in standings(trials)] == [2, 5, 4, 0]
    assert standings(trials[1:2]) == []
    several = [trial(0, 2.0, 2.0), trial(1, 3.0, 3.0), trial(2, 0.0, 4.0), trial(3, 4.0, 0.0)]
    assert [it.number for it in standings(several)][3] == 1


def test_random_search_depends_on_the_seed_and_on_how_many_trials_there_are() -> None:
    space, trials = load_space(), [trial(0, 1.0), trial(1, 2.0)]
    assert draw(trials, space, 1) == draw(trials, space, 1)
    assert draw(trials, space, 1) != draw(trials, space, 2)
    assert draw(trials, space, 1) != draw(trials[:1], space, 1)
