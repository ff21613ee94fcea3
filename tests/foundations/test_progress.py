"""Parts of work add up to the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.progress import Part


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=6))
def test_parts_follow_each_other_and_end_at_the_whole(weights: list[float]) -> None:
    told: list[int] = []
    for part in Part(lambda done, total, **_: told.append(done)).shares(weights):
        for done in range(4):
            part(done, 3)
    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] in (99, 100)  # a sum of fractions may end a rounding error below


def test_the_innermost_stage_is_told() -> None:
    told: list[object] = []
    outer = Part(lambda done, total, **figures: told.append(figures)).shares((1, 1), ["reading"])
    outer[0](1, 2)
    outer[1](0, 2, loss=1.0)
    first, second = Part(outer[0]).shares((1, 1), ["classifier"])
    first(0, 1)
    second(0, 1)
    assert told == [{"stage": "reading"}, {"loss": 1.0}, {"stage": "classifier"}, {"stage": "reading"}]


def test_a_part_of_a_part() -> None:
    told: list[tuple[int, int]] = []
    first, second = Part(lambda done, total, **_: told.append((done, total))).shares((1, 3))
    first(1, 2)
    second.shares((1, 1))[1](0, 5)
    assert told == [(12, 100), (62, 100)]
