"""Official data sets are taken where they are complete, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
from geant4_runs import data_sets

from caloforge.foundations.errors import UsageError
from caloforge.geant4.physics_data import DATA_SETS, find_physics_data


def test_without_data_sets_the_tables_are_computed() -> None:
    data = find_physics_data(environment={})
    assert data.computed
    assert data.to_json()["kind"] == "computed"
    assert not data.remark
    assert set(data.environment) == {*DATA_SETS, "GEANT4_DATA_DIR"}
    assert all(Path(folder).is_dir() for folder in data.environment.values())


def test_a_named_folder_is_used_with_what_lies_beside(tmp_path: Path) -> None:
    data = find_physics_data(data_sets(tmp_path), {"G4LEDATA": "/elsewhere"})
    assert not data.computed
    assert data.emlow == tmp_path / "G4EMLOW8.8"
    assert data.environment["G4LEDATA"] == str(tmp_path / "G4EMLOW8.8")
    assert data.environment["G4ENSDFSTATEDATA"] == str(tmp_path / "G4ENSDFSTATE3.0")
    assert data.environment["G4NEUTRONHPDATA"] == str(tmp_path / "G4NDL4.7.1")
    assert Path(data.environment["G4PIIDATA"]).is_dir()
    assert data.to_json() == {
        "kind": "official",
        "version": "G4EMLOW8.8",
        "what": f"official data set {tmp_path / 'G4EMLOW8.8'}",
        "path": str(tmp_path / "G4EMLOW8.8"),
    }


@pytest.mark.parametrize("name", ["G4LEDATA", "GEANT4_DATA_DIR", "home"])
def test_geant4s_own_places_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = data_sets(tmp_path / ".geant4_pybind")
    monkeypatch.setenv("HOME", str(tmp_path if name == "home" else tmp_path / "nobody"))
    value = {"G4LEDATA": root / "G4EMLOW8.8", "GEANT4_DATA_DIR": root, "home": ""}[name]
    data = find_physics_data(environment={name: str(value)})
    assert not data.computed
    assert data.emlow == root / "G4EMLOW8.8"


def test_a_data_set_with_gaps_is_left_alone_and_the_user_told(tmp_path: Path) -> None:
    emlow = data_sets(tmp_path, last_z=91) / "G4EMLOW8.8"
    data = find_physics_data(environment={"G4LEDATA": str(emlow)})
    assert data.computed
    assert str(emlow) in data.remark


def test_the_version_that_this_geant4_wants_comes_before_newer_ones(tmp_path: Path) -> None:
    for emlow in ("G4EMLOW8.6", "G4EMLOW8.8", "G4EMLOW9.1"):
        data_sets(tmp_path, emlow)
    assert find_physics_data(tmp_path, {}).emlow.name == "G4EMLOW8.8"


@pytest.mark.parametrize("folder", ["absent", "empty", "gaps"])
def test_a_wrong_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    data_sets(tmp_path / "gaps", last_z=20)
    with pytest.raises(UsageError, match=r"--physics-data .*expected a folder"):
        find_physics_data(tmp_path / folder, {})
