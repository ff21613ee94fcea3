"""Real Geant4 runs that several tests look at, each made once, whatever the number of test processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from geant4_runs import Sample, Started

from caloforge.detector import load_detector
from caloforge.foundations.units import GEV, Spectrum
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import simulate


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the test processes of one run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "geant4"
    folder.mkdir(exist_ok=True)
    return folder


def own_cache(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep the user's cache and data sets out of the tests."""
    patch.setenv("CALOFORGE_CACHE", str(folder / "cache"))
    patch.setenv("HOME", str(folder))
    patch.delenv("G4LEDATA", raising=False)
    patch.delenv("GEANT4_DATA_DIR", raising=False)


@pytest.fixture(autouse=True)
def table_cache(monkeypatch: pytest.MonkeyPatch, shared_folder: Path) -> Path:
    own_cache(monkeypatch, shared_folder)
    return shared_folder / "cache"


@pytest.fixture(scope="session")
def sample(shared_folder: Path) -> Sample:
    """Return a function: detector, energies (GeV) and number of showers to a file of normal incidence."""

    def make(detector: str, energy: str, events: int) -> Path:
        path = shared_folder / f"{detector}-{energy.replace(':', '-')}-{events}.h5"
        with Path(f"{path}.lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                own_cache(patch, shared_folder)
                spectrum = Spectrum.parse(energy, unit=GEV)
                simulate(SimulationRequest(load_detector(detector), events, spectrum, seed=3), path)
        return path

    return make


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Start the real command line in a session of its own, so that all its processes are known."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "caloforge", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
