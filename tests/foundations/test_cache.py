"""The cache: a folder that nobody else can write to, since what lies there is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import Caloforge, GiveAway

from caloforge.foundations.cache import cache_folder
from caloforge.foundations.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o000])
def test_it_is_made_for_us_alone(cache: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = cache_folder("things")
    finally:
        os.umask(before)
    assert made == cache / "things"
    assert [path.stat().st_mode & 0o777 for path in (cache, made)] == [0o700, 0o700]
    assert cache_folder("things") == made


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777, 0o702])
def test_one_that_others_can_write_to_is_refused(cache: Path, mode: int) -> None:
    made = cache_folder("things")
    made.chmod(mode)
    with pytest.raises(UsageError, match=rf"^{made}: others can write to it; `chmod go-w`"):
        cache_folder("things")
    made.chmod(0o755)
    assert cache_folder("things") == made


def test_one_in_a_folder_where_all_may_rename_is_refused(cache: Path) -> None:
    made = cache_folder("things")
    cache.chmod(0o777)
    with pytest.raises(UsageError, match=rf"^{cache}: others can write to it"):
        cache_folder("things")
    cache.chmod(0o1777)  # as /tmp: nobody renames what belongs to others
    assert cache_folder("things") == made


def test_one_of_another_user_is_refused(give_away: GiveAway) -> None:
    made = cache_folder("things")
    give_away(made)
    with pytest.raises(UsageError, match=rf"^{made}: belongs to another user \(uid \d+\)"):
        cache_folder("things")


@pytest.mark.training
def test_train_refuses_it_in_one_line(cache: Path, small_showers: Path, caloforge: Caloforge) -> None:
    cache_folder("stores").chmod(0o777)
    ran = caloforge("train", "--data", small_showers, "--out", cache.parent / "run")
    ran.refused(2, str(cache / "stores"), "others can write")
    assert not (cache.parent / "run").exists()
