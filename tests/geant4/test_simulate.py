"""Runs from the command line: any number of workers, killed and continued, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import PATIENCE_S, Caloforge, wait_until
from geant4_runs import Sample, Simulated, Started, data_sets

from caloforge.detector import Detector, load_detector
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.foundations.units import DEGREE, GEV, Spectrum
from caloforge.geant4.em_tables import EMLOW
from caloforge.geant4.physics_data import find_physics_data
from caloforge.geant4.pool import WorkerPool
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import journal_path, simulate
from caloforge.showers.digitisation import Digitiser

pytestmark = pytest.mark.geant4

# A few hundredths of a second a shower.
REQUEST = SimulationRequest(load_detector("pbwo4"), 40, Spectrum.parse("5:15", unit=GEV), seed=5)
COMMAND = (
    *["simulate", "--detector", "pbwo4", "--energy", "5:15", "--seed", "5", "-o", "s.h5", "--events"],
    "40",
)
LONG = (*COMMAND[:-1], "100000")
"""A run that is stopped long before its end, however late the signal comes."""


def assert_same(one: Path, other: Path) -> None:
    with h5py.File(one) as a, h5py.File(other) as b:
        assert sorted(a) == sorted(b)
        for name in a:
            assert a[name][:].tobytes() == b[name][:].tobytes(), name
        assert a.attrs["detector"] == b.attrs["detector"]


@pytest.fixture(scope="session")
def undisturbed(simulated: Simulated, sample: Sample) -> Path:
    sample("pbwo4", "log:1:5", 3)  # its environment, for the first run of a session
    return simulated("undisturbed", REQUEST)


def others_of(session: int) -> set[int]:
    """Process numbers of a session that still run."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, sid = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(sid) == session and state != "Z":
            found.add(int(stat.parent.name))
    return found - {session}


def in_the_middle(process: subprocess.Popen[str], journal: Path) -> None:
    """Wait until some showers are in the journal."""
    wait_until(
        lambda: process.poll() is not None or (journal.exists() and journal.stat().st_size > 20_000)
    )
    assert process.poll() is None, process.communicate()


def test_the_file_does_not_depend_on_the_number_of_workers(undisturbed: Path, tmp_path: Path) -> None:
    result = simulate(REQUEST, tmp_path / "two.h5", workers=2)
    assert (result.showers, result.simulated) == (40, 40)
    assert_same(undisturbed, tmp_path / "two.h5")


def test_a_shower_does_not_depend_on_those_before_it(undisturbed: Path) -> None:
    with ShowerFile(undisturbed) as file:
        showers = file.read()
    with WorkerPool(1, REQUEST, find_physics_data()) as pool:
        for shower in pool.showers([7, 31, 7, 2]):
            dense = np.zeros(showers.grid.n_cells, np.float32)
            dense[shower.cell] = shower.deposit
            np.testing.assert_array_equal(dense, showers.deposits[shower.index].ravel())


ELECTRONICS = {"mip_MeV": 6.0, "threshold_mip": 0.5, "noise_MeV": 1.0, "saturation_MeV": 900.0}


def test_electronics_come_after_geant4(tmp_path: Path) -> None:
    told = REQUEST.detector.model_dump() | {"digitise": ELECTRONICS}
    request = replace(REQUEST, detector=Detector.model_validate(told), events=3)
    simulate(request, tmp_path / "plain.h5")
    simulate(request, tmp_path / "read.h5", digitise=True)
    with ShowerFile(tmp_path / "plain.h5") as plain, ShowerFile(tmp_path / "read.h5") as read:
        expected = Digitiser.of(plain.grid, request.seed)(plain.read(), 0).deposits
        np.testing.assert_array_equal(read.read().deposits, expected)
        assert not np.array_equal(expected, plain.read().deposits)
        assert read.provenance["digitise"] == ELECTRONICS
        assert "digitise" not in plain.provenance
        assert read.grid.extra["digitised"] is True
    with pytest.raises(UsageError, match="has no digitise in its description"):
        simulate(REQUEST, tmp_path / "none.h5", digitise=True)


def test_zeros_are_suppressed_after_particles_are_added_up(tmp_path: Path) -> None:
    told = REQUEST.detector.model_dump() | {"threshold_MeV": 40.0}
    plain = replace(REQUEST, detector=Detector.model_validate(told), events=2, overlay=2)
    suppressed = replace(plain, detector=Detector.model_validate(told | {"zero_suppression": True}))
    simulate(plain, tmp_path / "plain.h5")
    simulate(suppressed, tmp_path / "suppressed.h5")
    with ShowerFile(tmp_path / "plain.h5") as one, ShowerFile(tmp_path / "suppressed.h5") as other:
        np.testing.assert_array_equal(other.read().deposits, one.read().above(40.0).deposits)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_ended_goes_on(
    undisturbed: Path, tmp_path: Path, started: Started, number: signal.Signals
) -> None:
    journal = journal_path(tmp_path / "s.h5")
    process = started(*LONG, "--workers", "2")
    in_the_middle(process, journal)
    workers = others_of(process.pid)
    assert len(workers) == 2
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE_S)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "of 100000 showers are kept, the same command goes on from there" in err.splitlines()[-1]
        assert "Traceback" not in err
    wait_until(lambda: not others_of(process.pid))
    assert [path.name for path in tmp_path.iterdir()] == [journal.name]
    result = simulate(REQUEST, tmp_path / "s.h5")
    assert result.simulated < 40
    assert_same(undisturbed, tmp_path / "s.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path, started: Started) -> None:
    process = started(*LONG, "--workers", "2")
    in_the_middle(process, journal_path(tmp_path / "s.h5"))
    assert others_of(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not others_of(process.pid))


def test_a_worker_that_dies_is_one_line_and_costs_nothing_finished(
    undisturbed: Path, tmp_path: Path, started: Started
) -> None:
    process = started(*LONG)
    in_the_middle(process, journal_path(tmp_path / "s.h5"))
    (worker,) = others_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert not out
    assert err.splitlines()[-1].startswith("caloforge: Geant4 worker 0 died (signal 9, SIGKILL); ")
    assert "Traceback" not in err
    simulate(REQUEST, tmp_path / "s.h5")
    assert_same(undisturbed, tmp_path / "s.h5")


def test_a_longer_run_begins_with_the_showers_of_a_shorter_one(
    undisturbed: Path, tmp_path: Path
) -> None:
    short = SimulationRequest(REQUEST.detector, 3, REQUEST.energy, seed=REQUEST.seed)
    simulate(short, tmp_path / "short.h5")
    with h5py.File(tmp_path / "short.h5") as a, h5py.File(undisturbed) as b:
        assert a["showers"].shape[0] == 3
        np.testing.assert_array_equal(a["showers"][:], b["showers"][:3])


def test_another_request_in_the_place_of_an_unfinished_run_is_refused(
    tmp_path: Path, started: Started
) -> None:
    process = started(*LONG)
    in_the_middle(process, journal_path(tmp_path / "s.h5"))
    with pytest.raises(UsageError, match="another process"):
        simulate(REQUEST, tmp_path / "s.h5")
    process.kill()
    process.wait()
    tilted = SimulationRequest(
        REQUEST.detector, 40, REQUEST.energy, Spectrum.parse("70:80", unit=DEGREE), seed=5
    )
    before = journal_path(tmp_path / "s.h5").read_bytes()
    with pytest.raises(UsageError, match="unfinished run with other theta_rad"):
        simulate(tilted, tmp_path / "s.h5")
    assert journal_path(tmp_path / "s.h5").read_bytes() == before


def test_the_file_tells_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caloforge: Caloforge
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = caloforge(*COMMAND, *["--events", "2", "--theta", "80:100", "--json"])
    assert ran.code == 0, ran.err
    assert "computed tables" in ran.err.splitlines()[0]
    result = json.loads(ran.out)
    assert (result["file"], result["showers"], result["simulated_now"]) == ("s.h5", 2, 2)
    assert result["showers_per_s"] > 0
    with ShowerFile(tmp_path / "s.h5") as file:
        told = file.provenance
        assert file.grid.name == "pbwo4"
        np.testing.assert_array_equal(file.conditions.particle, [11, 11])
        assert np.ptp(file.conditions.incident_theta) > 0
    assert told["program"].startswith("caloforge ")
    assert told["geant4"].startswith("geant4-11")
    assert told["physics_list"] == "G4EmStandardPhysics_option1"
    assert told["physics_tables"]["kind"] == "computed" == result["physics_tables"]["kind"]
    assert (told["seed"], told["events"]) == (5, 2)
    assert told["energy_MeV"] == {"kind": "uniform", "values": [5000.0, 15000.0]}
    assert told["date"].startswith("20")


def test_official_data_sets_are_read_by_geant4_and_recorded(
    tmp_path: Path, table_cache: Path, undisturbed: Path, started: Started
) -> None:
    # Real tables for the elements in use under the official names: Geant4 reads them from there.
    folder = data_sets(tmp_path / "official")
    (computed,) = table_cache.glob(f"*/*/{EMLOW}")
    for path in (p for p in computed.rglob("*") if p.is_file()):
        shutil.copy(path, folder / EMLOW / path.relative_to(computed))
    process = started(*COMMAND, "--events", "2", "--physics-data", str(folder))
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert f"official data set {folder / EMLOW}" in err.splitlines()[0]
    with ShowerFile(tmp_path / "s.h5") as file, ShowerFile(undisturbed) as reference:
        assert file.provenance["physics_tables"]["path"] == str(folder / EMLOW)
        np.testing.assert_array_equal(file.read().deposits, reference.read(0, 2).deposits)


def test_broken_official_tables_name_geant4s_complaint(tmp_path: Path) -> None:
    folder = data_sets(tmp_path / "official")  # complete in names, empty in content
    with pytest.raises(
        CaloforgeError, match=r"worker 0 died \(signal 6, SIGABRT\): em\d+ .*; no shower"
    ):
        simulate(REQUEST, tmp_path / "s.h5", physics_data=find_physics_data(folder))
    assert not (tmp_path / "s.h5").exists()
    assert not journal_path(tmp_path / "s.h5").exists()


UNKNOWN = """name: odd
cells: [3, 3]
cell_size_mm: [5, 5]
layers:
  - slabs:
      - {material: G4_UNOBTAINIUM, thickness_mm: 1, sensitive: true}
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--physics-data absent", "--physics-data absent: expected a folder"),
        ("--detector odd.yaml", "'G4_UNOBTAINIUM': Geant4 does not know it"),
        ("--detector nothing", "detector 'nothing': expected one of"),
        ("--energy 500:10", "--energy: the lower bound"),
        ("--energy much", "--energy: expected"),
        ("--theta 0.1", "--theta: expected angles from 1 to 179 degrees"),
        ("--theta 170:190", "--theta: expected angles from 1 to 179 degrees"),
        ("--events 0", "--events: expected at least 1"),
        ("--workers 0", "'--workers'"),
        ("-o absent/s.h5", "the folder absent does not exist"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caloforge: Caloforge, options: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.yaml").write_text(UNKNOWN)
    ran = caloforge(*COMMAND, *options.split())
    assert ran.code == 2
    assert not ran.out
    (line,) = [line for line in ran.err.splitlines() if not line.startswith(("physics:", "simulate:"))]
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["odd.yaml"]


def test_a_missing_geant4_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'caloforge\[geant4\]'"):
        simulate(REQUEST, tmp_path / "s.h5")
