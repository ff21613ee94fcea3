"""Ranks around one output: they hear of each other through files, and miss the one that is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from caloforge.files import rank_merge
from caloforge.files.rank_merge import RankMerge
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.ranks import ALONE, Ranks

WORK = {"seed": 1}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_merge, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(rank_merge, "TELL_EVERY_S", 0.02)


@pytest.fixture
def member(tmp_path: Path) -> Callable[..., RankMerge]:
    def make(rank: int, world: int = 3, job: str = "7", seed: int = 1, total: int = 30) -> RankMerge:
        return RankMerge(
            tmp_path / "out[1].h5", Ranks(rank, world, rank, world, job), {"seed": seed}, total
        )

    return make


Member = Callable[..., RankMerge]


def test_notes_come_in_the_order_of_ranks_and_nothing_stays(member: Member, tmp_path: Path) -> None:
    with member(0) as first:
        with member(2) as last, member(1) as middle:
            assert last.finish("c") == ["c"]
            assert middle.finish({"made": 3}) == [{"made": 3}]
            last.part(2).touch()
        assert first.finish("a") == ["a", {"made": 3}, "c"]
        assert first.part(2).exists()
    assert list(tmp_path.iterdir()) == []


def test_the_first_rank_hears_how_far_all_are(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    ranks = [Ranks(rank, 2, rank, 2, "7") for rank in range(2)]
    with RankMerge(
        tmp_path / "x", ranks[0], WORK, 20, lambda done, total, **_: heard.append((done, total))
    ) as first:
        with RankMerge(tmp_path / "x", ranks[1], WORK, 20) as second:
            second.report(4, 10)
            time.sleep(0.2)
            first.report(3, 10)
            second.report(10, 10)
            second.finish()
        first.report(10, 10)
        first.finish()
    assert (heard[0], heard[-1]) == ((7, 20), (20, 20))


def test_one_that_failed_is_named_at_once(member: Member, tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(member(0))
        with suppress(KeyboardInterrupt), member(2):
            raise KeyboardInterrupt
        with pytest.raises(CaloforgeError, match=r"^rank 2 of 3 is gone"):
            first.finish()
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_killed_falls_silent_and_one_that_is_slow_does_not(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_merge, "SILENCE_S", 1.0)
    with ExitStack() as stack:
        first, slow, killed = (stack.enter_context(member(rank)) for rank in range(3))
        killed._stop()  # as SIGKILL does
        with pytest.raises(CaloforgeError, match=r"^rank 2 of 3 is gone"):
            first.finish()
        killed.finish("started again")
        slow.finish("slow")
        assert first.finish() == [None, "slow", "started again"]


def test_one_that_never_came_is_waited_for_only_so_long(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_merge, "MEETING_S", 0.1)
    with (
        pytest.raises(CaloforgeError, match=r"rank 1, 2 of 3 did not come.*rdzv-id"),
        member(0) as first,
    ):
        first.finish()


@pytest.mark.parametrize("other", [{"job": "8"}, {"seed": 2}, {"world": 4}, {"total": 31}])
def test_what_other_work_left_is_never_taken(
    member: Member, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, object]
) -> None:
    monkeypatch.setattr(rank_merge, "MEETING_S", 0.05)
    with member(1, **{"world": 2, **other}) as killed:
        killed.finish("old")
        killed.part(1).touch()
    with pytest.raises(CaloforgeError, match="rank 1 of 2"), member(0, 2) as first:
        first.finish()
    assert len(list(tmp_path.iterdir())) == 2  # whose it is, nobody knows
    with member(0, 2) as first:
        with member(1, 2) as second:
            second.finish("new")
        assert first.finish() == [None, "new"]
    assert list(tmp_path.iterdir()) == []


def test_a_lone_process_waits_for_nobody_and_needs_no_file(tmp_path: Path) -> None:
    heard: list[int] = []
    with RankMerge(
        tmp_path / "absent" / "x", ALONE, WORK, 5, lambda done, total, **_: heard.append(done)
    ) as lone:
        lone.report(1, 5)
        lone.report(5, 5)
        assert lone.finish("a") == ["a"]
    assert heard == [1, 5]
