"""Real Geant4 runs that several tests look at, each made once, whatever the number of test processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import MadeOnce
from geant4_runs import Sample, Simulated, Started

from caloforge.detector import load_detector
from caloforge.foundations.units import GEV, Spectrum
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import simulate


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
def simulated(shared_folder: Path, made_once: MadeOnce) -> Simulated:
    """Return a function that simulates what is requested into a file, once for all tests."""

    def make(name: str, request: SimulationRequest) -> Path:
        def fill(folder: Path) -> None:
            with pytest.MonkeyPatch.context() as patch:
                own_cache(patch, shared_folder)
                simulate(request, folder / "showers.h5")

        return made_once(name, fill) / "showers.h5"

    return make


@pytest.fixture(scope="session")
def sample(simulated: Simulated) -> Sample:
    """Return a function: detector, energies (GeV) and number of showers to a file of normal incidence."""

    def make(detector: str, energy: str, events: int) -> Path:
        spectrum = Spectrum.parse(energy, unit=GEV)
        request = SimulationRequest(load_detector(detector), events, spectrum, seed=3)
        return simulated(f"{detector}-{energy.replace(':', '-')}-{events}", request)

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
