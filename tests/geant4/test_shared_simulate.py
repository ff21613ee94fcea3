"""Several ranks simulate into one file: any number of them, one of them killed, continued by others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import pytest
from commands import PATIENCE_S, wait_until
from geant4_runs import Sample, Simulated
from launchers import mpiexec

from caloforge.detector import load_detector
from caloforge.files import rank_merge
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.foundations.units import GEV, Spectrum
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import journal_path, simulate

pytestmark = pytest.mark.geant4

EVENTS = 24
REQUEST = SimulationRequest(load_detector("pbwo4"), EVENTS, Spectrum.parse("5:15", unit=GEV), seed=5)
COMMAND = [
    *[sys.executable, "-m", "caloforge", "simulate", "--detector", "pbwo4", "--energy", "5:15"],
    *["--seed", "5", "-o", "s.h5", "--events", str(EVENTS)],
]


@pytest.fixture(scope="session")
def alone(simulated: Simulated, sample: Sample) -> Path:
    sample("pbwo4", "log:1:5", 3)  # its environment, for the first run of a session
    return simulated("alone", REQUEST)


def content(path: Path) -> dict[str, object]:
    """Return all that a file holds but when and by which command it was made."""
    with h5py.File(path) as file:
        columns = {name: (file[name][:].tobytes(), dict(file[name].attrs)) for name in file}
        texts = {
            name: re.sub(r'"(date|command)": "[^"]*"', "", str(file.attrs[name])) for name in file.attrs
        }
        del texts["digest_header"]  # of the date, too
        return {**columns, "attributes": texts}


def test_three_ranks_make_the_file_of_one_process(alone: Path, tmp_path: Path) -> None:
    # One after the other: only the first waits, and here for nobody.
    for rank in (2, 1, 0):
        result = simulate(REQUEST, tmp_path / "s.h5", ranks=Ranks(rank, 3, rank, 3, "job"))
        assert (tmp_path / "s.h5").exists() == (rank == 0)
    assert (result.showers, result.simulated) == (EVENTS, EVENTS)
    assert content(tmp_path / "s.h5") == content(alone)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_mpirun_ends_with_one_file_and_one_voice(alone: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [*mpiexec(2), *COMMAND],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "s.h5") == content(alone)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]
    assert done.stderr.count("physics:") == 1
    assert re.search(rf"^  simulated now +{EVENTS} in .* showers/s$", done.stdout, re.MULTILINE)


KILLED = [
    sys.executable,
    "-c",
    """
import os, signal
from caloforge.cli.main import main
from caloforge.geant4.journal import Journal

append = Journal.append

def last(self, index, cell, deposit):
    append(self, index, cell, deposit)
    if len(self) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.append = last
main()
""",
]
"""In place of the command: killed as soon as it has five showers."""

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Start a rank of two as srun does, which does not end the others when one fails."""
    processes: list[subprocess.Popen[str]] = []

    def start(rank: int, events: int, program: Sequence[str] = COMMAND[:3]) -> subprocess.Popen[str]:
        slurm = {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2"}
        slurm |= {"SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0"}
        process = subprocess.Popen(
            [*program, *COMMAND[3:-1], str(events)],
            cwd=tmp_path,
            env={**os.environ, **slurm},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_journal(path: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: process.poll() is not None or (path.exists() and path.stat().st_size > 5000))
    assert process.poll() is None, process.communicate()


def test_a_rank_that_was_killed_is_named_and_its_showers_count(
    alone: Path, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_merge, "SILENCE_S", 5.0)
    second = started(1, EVENTS, KILLED)
    assert second.wait(PATIENCE_S) == -signal.SIGKILL, second.communicate()
    with pytest.raises(
        CaloforgeError, match=rf"^rank 1 of 2 is gone .*; \d+ of {EVENTS} showers are kept"
    ):
        simulate(REQUEST, tmp_path / "s.h5", ranks=Ranks(0, 2, 0, 2, "9-0"))
    assert not (tmp_path / "s.h5").exists()
    # Three others go on.
    for rank in (1, 2, 0):
        result = simulate(REQUEST, tmp_path / "s.h5", ranks=Ranks(rank, 3, rank, 3, "again"))
    assert 0 < result.simulated < EVENTS // 2
    assert content(tmp_path / "s.h5") == content(alone)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


def test_all_that_are_stopped_keep_their_showers_and_one_says_so(
    alone: Path, tmp_path: Path, started: Started
) -> None:
    both = [started(rank, 100000) for rank in range(2)]
    for rank, process in enumerate(both):
        wait_for_journal(journal_path(tmp_path / "s.h5", rank), process)
    for process in both:
        process.send_signal(signal.SIGTERM)
    (_, told), (_, silence) = (process.communicate(timeout=PATIENCE_S) for process in both)
    assert [process.returncode for process in both] == [130, 130]
    assert "of 100000 showers are kept" in told.splitlines()[-1]
    assert silence == ""
    # One process goes on, with fewer showers: those beyond its last one are of no use.
    result = simulate(REQUEST, tmp_path / "s.h5", ranks=ALONE)
    assert result.simulated < EVENTS
    assert content(tmp_path / "s.h5") == content(alone)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]
