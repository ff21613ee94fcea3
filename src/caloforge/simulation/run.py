"""Real showers from Geant4 into one file: from worker processes, over a journal, to the final file.

Showers that finish go into a hidden journal beside the output; a run that was interrupted or killed
goes on from there when the same request is made again. The file appears under its name when complete,
and its datasets depend on the request alone: not on the number of workers, nor on interruptions.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.io.durable import check_output_path
from caloforge.io.shower_file import ShowerWriter
from caloforge.progress import Progress, silent
from caloforge.showers import ELECTRON, Showers
from caloforge.simulation.journal import Journal
from caloforge.simulation.physics_data import PhysicsData, find_physics_data
from caloforge.simulation.pool import WorkerPool
from caloforge.simulation.request import SimulationRequest
from caloforge.simulation.worker import Introduction

__all__ = ["Interrupted", "SimulationResult", "journal_path", "require_geant4", "simulate"]

ROWS_AT_ONCE = 64


class Interrupted(CaloforgeError):
    """Ctrl-C, or what else raised KeyboardInterrupt; the showers made so far are kept."""

    exit_code = 130


@dataclass(frozen=True)
class SimulationResult:
    """What was done: the file, its showers, how many of them this run made and in what time."""

    file: Path
    showers: int
    simulated: int
    seconds: float
    physics_data: PhysicsData


def require_geant4() -> None:
    """Raise MissingExtraError unless geant4-pybind is installed (without importing it)."""
    if importlib.util.find_spec("geant4_pybind") is None:
        raise MissingExtraError("simulate", "geant4")


def journal_path(output: Path) -> Path:
    """Where the showers of an unfinished run wait."""
    return output.with_name(f".{output.name}.unfinished")


def simulate(
    request: SimulationRequest,
    output: str | Path,
    *,
    workers: int = 1,
    physics_data: PhysicsData | None = None,
    progress: Progress = silent,
) -> SimulationResult:
    """Simulate the requested showers into ``output``, continuing an interrupted run of the same request.

    ``physics_data`` defaults to what :func:`~caloforge.simulation.physics_data.find_physics_data`
    finds. Raises UsageError, MissingExtraError, CaloforgeError (a worker died), Interrupted.
    """
    output = Path(output)
    require_geant4()
    if workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {workers}")
    check_output_path(output)
    data = physics_data or find_physics_data()
    manifest = {
        **request.to_json(),
        "physics_tables": data.to_json(),
        "geant4_pybind": version("geant4-pybind"),
    }
    with Journal(journal_path(output), manifest) as journal:
        missing = [index for index in range(request.events) if index not in journal]
        started = time.monotonic()
        try:
            introduction = _fill(journal, missing, request, data, workers, progress)
            seconds = time.monotonic() - started
            _write(output, journal, request, _provenance(request, data, introduction))
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {_kept(journal, request)}") from None
        except UsageError:
            raise
        except CaloforgeError as error:
            raise CaloforgeError(f"{error}; {_kept(journal, request)}") from None
        journal.clear()
    return SimulationResult(output, request.events, len(missing), seconds, data)


def _fill(
    journal: Journal,
    missing: list[int],
    request: SimulationRequest,
    data: PhysicsData,
    workers: int,
    progress: Progress,
) -> Introduction:
    """Simulate what the journal lacks; a worker starts in any case, to say which Geant4 it is."""
    done = request.events - len(missing)
    with WorkerPool(max(1, min(workers, len(missing))), request, data) as pool:
        progress(done, request.events)
        for shower in pool.showers(missing):
            journal.append(shower.index, shower.cell, shower.deposit)
            done += 1
            progress(done, request.events)
        return pool.introduction


def _write(
    output: Path, journal: Journal, request: SimulationRequest, provenance: dict[str, Any]
) -> None:
    with ShowerWriter(output, request.detector.grid, provenance) as writer:
        for start in range(0, request.events, ROWS_AT_ONCE):
            writer.append(
                _showers(journal, request, range(request.events)[start : start + ROWS_AT_ONCE])
            )


def _showers(journal: Journal, request: SimulationRequest, indices: range) -> Showers:
    grid = request.detector.grid
    deposits = np.zeros((len(indices), grid.n_cells), np.float32)
    for row, index in enumerate(indices):
        cell, deposit = journal.read(index)
        deposits[row, cell] = deposit
    primaries = [request.primary(index) for index in indices]
    return Showers(
        deposits=deposits.reshape(-1, *grid.shape),
        incident_energy=np.array([p.energy_MeV for p in primaries], np.float32),
        incident_theta=np.array([p.theta_rad for p in primaries], np.float32),
        grid=grid,
        impact_xy=np.array([p.impact_xy_mm for p in primaries], np.float32),
        pdg_id=np.full(len(indices), ELECTRON, np.int32),
    )


def _provenance(
    request: SimulationRequest, data: PhysicsData, introduction: Introduction
) -> dict[str, Any]:
    return {
        "program": f"caloforge {version('caloforge')}",
        "geant4": introduction.geant4_version,
        "geant4_pybind": version("geant4-pybind"),
        "physics_list": introduction.physics_list,
        "physics_tables": data.to_json(),
        "seed": request.seed,
        "events": request.events,
        "energy_MeV": request.energy.to_json(),
        "theta_rad": request.theta.to_json(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _kept(journal: Journal, request: SimulationRequest) -> str:
    done = sum(index in journal for index in range(request.events))
    if not done:
        return "no shower was finished"
    return f"{done} of {request.events} showers are kept, the same command goes on from there"
