"""The cache: a folder that nobody else can write to, since what lies there is believed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from commands import Caloforge, GiveAway

from caloforge.foundations.cache import cache_folder, home
from caloforge.foundations.errors import UsageError
from caloforge.geant4.physics_data import find_physics_data


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


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be a user without a home, a name and a cache; return the folder of temporary files."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "CALOFORGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.mark.usefixtures("nobody")
def test_the_place_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("stores") == tmp_path / "home/.cache/caloforge/stores"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("stores") == tmp_path / "xdg/caloforge/stores"
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "named"))
    assert cache_folder("stores") == tmp_path / "named/stores"
    assert (tmp_path / "named/stores").is_dir()


@pytest.mark.usefixtures("nobody")
def test_a_named_place_needs_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "named"))
    assert home() is None
    assert cache_folder("stores") == tmp_path / "named/stores"
    assert find_physics_data(environment={}).computed


def test_without_a_home_there_is_a_temporary_folder_of_ones_own(nobody: Path) -> None:
    folder = cache_folder("stores")
    assert folder == nobody / f"caloforge-{os.getuid()}/stores"
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert cache_folder("stores") == folder


def test_nor_where_the_home_is_none(monkeypatch: pytest.MonkeyPatch, nobody: Path) -> None:
    (nobody / "file").touch()
    monkeypatch.setenv("HOME", str(nobody / "file"))
    assert cache_folder("stores") == nobody / f"caloforge-{os.getuid()}/stores"


def test_a_temporary_folder_of_somebody_else_is_refused(nobody: Path, give_away: GiveAway) -> None:
    place = nobody / f"caloforge-{os.getuid()}"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    with pytest.raises(UsageError, match=f"{place}: others can write to it"):
        cache_folder("stores")
    place.chmod(0o755)
    give_away(place)
    with pytest.raises(UsageError, match=f"{place}: belongs to another user"):
        cache_folder("stores")


@pytest.mark.parametrize("name", ["CALOFORGE_CACHE", "XDG_CACHE_HOME"])
def test_a_named_place_that_cannot_be_is_wrong_use(
    monkeypatch: pytest.MonkeyPatch, nobody: Path, name: str
) -> None:
    (nobody / "file").touch()
    monkeypatch.setenv(name, str(nobody / "file"))
    with pytest.raises(
        UsageError, match=r"file.*: cannot be made .*; CALOFORGE_CACHE names another place"
    ):
        cache_folder("stores")
