from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.training.config import load_config
from caloforge.training.schedule import learning_rate, plateaus

RATE = 1e-3


@given(st.floats(0, 100), st.lists(st.floats(0, 10), max_size=30))
def test_one_worker_keeps_the_rate_that_was_set(epoch: float, scores: list[float]) -> None:
    assert learning_rate(load_config(model="3dgan"), 1, epoch, scores) == RATE


@given(st.integers(2, 1024), st.floats(0, 5))
def test_the_rate_of_all_workers_is_reached_in_a_straight_line(workers: int, epoch: float) -> None:
    config = load_config(model="3dgan")
    expected = RATE + (workers * RATE - RATE) * epoch / 5
    assert learning_rate(config, workers, epoch, []) == pytest.approx(expected)
    assert learning_rate(config, workers, 0, []) == RATE
    assert learning_rate(config, workers, 5 + epoch, []) == pytest.approx(workers * RATE)


def test_without_warm_up_the_rate_is_that_of_all_workers_at_once() -> None:
    assert learning_rate(load_config(settings=["warmup_epochs=0"], model="3dgan"), 4, 0, []) == 4 * RATE


@given(st.floats(0, 40), st.integers(1, 8))
def test_steps_come_every_so_many_epochs(epoch: float, workers: int) -> None:
    config = load_config(
        settings=["schedule=step", "decay_factor=0.5", "decay_epochs=10", "warmup_epochs=0"],
        model="3dgan",
    )
    expected = workers * RATE * 0.5 ** (epoch // 10)
    assert learning_rate(config, workers, epoch, []) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "decays"),
    [
        ([], 0),
        ([3, 2, 1, 0.5], 0),
        ([3, 3], 0),
        ([3, 3, 3], 1),
        ([3, 4, 5, 3, 9], 2),
        ([3, 4, 2, 4, 4, 4, 1, 2], 1),
        ([1e9, 1e9, 1e9], 1),
    ],
)
def test_a_plateau_is_so_many_checks_without_a_better_one(scores: list[float], decays: int) -> None:
    assert plateaus(scores, 2) == decays
    config = load_config(settings=["schedule=plateau", "decay_epochs=2"], model="3dgan")
    assert learning_rate(config, 1, 50.0, scores) == pytest.approx(RATE * 0.1**decays)


@given(st.lists(st.floats(0, 10), max_size=40), st.integers(1, 5))
def test_plateaus_are_never_taken_back(scores: list[float], patience: int) -> None:
    counts = [plateaus(scores[:n], patience) for n in range(len(scores) + 1)]
    assert counts == sorted(counts)
    assert counts[-1] <= math.floor(len(scores) / patience)
