"""Real showers from Geant4 into one file: from worker processes, over a journal, to the final file.

Showers that finish go into a hidden journal beside the output; a run that was interrupted or killed
goes on from there when the same request is made again. The file appears under its name when complete,
and its datasets depend on the request alone: not on the number of workers, nor on interruptions.

Of several ranks each has a journal of its own and makes every so-many-th shower of those that no
journal holds; the first rank writes the file once all are done.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from caloforge.detector import Detector
from caloforge.files.rank_merge import RankMerge
from caloforge.files.shower_writer import check_shower_path, open_writer
from caloforge.foundations.errors import CaloforgeError, MissingExtraError, UsageError
from caloforge.foundations.progress import Progress, Say, say_nothing, silent
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.geant4.journal import Journal, Records
from caloforge.geant4.physics_data import PhysicsData, find_physics_data
from caloforge.geant4.pool import WorkerPool
from caloforge.geant4.request import HADRONIC, SimulationRequest, physics_beside
from caloforge.geant4.worker import Introduction
from caloforge.showers import Conditions, Showers, name_of
from caloforge.showers.digitisation import Digitiser

__all__ = [
    "OF_COMPUTED_TABLES",
    "Interrupted",
    "SimulationResult",
    "journal_path",
    "require_geant4",
    "require_physics",
    "require_physics_list",
    "simulate",
]

ROWS_AT_ONCE = 64
OF_COMPUTED_TABLES = (
    "G4EmStandardPhysics",
    "G4EmStandardPhysics_option1",
    "G4EmStandardPhysics_option2",
)


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


def require_geant4(feature: str = "simulate") -> None:
    """Raise MissingExtraError, saying what needs it, unless geant4-pybind is installed (without importing it)."""
    if importlib.util.find_spec("geant4_pybind") is None:
        raise MissingExtraError(feature, "geant4")


def require_physics(particles: Sequence[int], data: PhysicsData) -> None:
    """Raise UsageError for hadrons without the official data sets that their physics reads."""
    if lacking := data.lacking_for_hadrons:
        for pdg in particles:
            if set(HADRONIC) & set(physics_beside([pdg])):
                raise UsageError(
                    f"--particle {name_of(pdg)}: hadrons need Geant4's official data sets, in the folder that "
                    f"--physics-data names ({', '.join(lacking)} missing); e-, e+, gamma, mu-, mu+ and pi0 do without"
                )


def require_physics_list(detector: Detector, data: PhysicsData) -> None:
    """Raise UsageError for a physics list that reads more than the computed tables, where there is no more."""
    if data.computed and detector.physics_list not in (None, *OF_COMPUTED_TABLES):
        raise UsageError(
            f"detector {detector.name!r}: physics_list {detector.physics_list} needs Geant4's official data sets, in the "
            f"folder that --physics-data names; {', '.join(OF_COMPUTED_TABLES)} do without"
        )


def journal_path(output: Path, rank: int = 0) -> Path:
    """Name the file in which the showers that ``rank`` made wait while the run is unfinished."""
    return output.with_name(f".{output.name}.unfinished" + (f".{rank}" if rank else ""))


def simulate(
    request: SimulationRequest,
    output: str | Path,
    *,
    workers: int = 1,
    physics_data: PhysicsData | None = None,
    ranks: Ranks = ALONE,
    digitise: bool = False,
    command: str = "",
    progress: Progress = silent,
    say: Say = say_nothing,
) -> SimulationResult:
    """Simulate the requested showers into ``output``, continuing an interrupted run of the same request.

    ``workers`` are processes of each rank. ``physics_data`` defaults to what
    :func:`~caloforge.geant4.physics_data.find_physics_data` finds. With ``digitise`` the file
    holds what the detector's electronics read out. It keeps the ``command``. Ranks other than the first
    return when their share is done; then the file need not be there yet. Raises UsageError,
    MissingExtraError, CaloforgeError (a worker died, or another rank), Interrupted.
    """
    output = Path(output)
    require_geant4()
    if workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {workers}")
    check_shower_path(output, *filter(None, [request.like]))
    digitiser = Digitiser.of(request.detector.grid, request.seed) if digitise else None
    data = physics_data or find_physics_data()
    require_physics(request.particles, data)
    require_physics_list(request.detector, data)
    manifest = {
        **request.to_json(),
        "physics_tables": data.to_json(),
        "geant4_pybind": version("geant4-pybind"),
    }
    with (
        Journal(journal_path(output, ranks.rank), manifest, request.detector.grid.n_cells) as journal,
        RankMerge(output, ranks, manifest, request.n_primaries, progress, say) as merge,
    ):
        started = time.monotonic()
        try:
            with _others(journal, output, manifest) as others:
                share = range(ranks.rank, request.n_primaries, ranks.world)
                missing = [i for i in share if not any(i in records for records in (journal, *others))]
            kept = len(share) - len(missing)
            introduction = _fill(journal, missing, kept, request, data, workers, merge.report)
            journal.sync()
            made = merge.finish(len(missing))
            seconds = time.monotonic() - started
            if ranks.leads:
                provenance = {"command": command, **_provenance(request, data, introduction)}
                provenance |= digitiser.provenance() if digitiser else {}
                with _others(journal, output, manifest) as others:
                    _write(output, (journal, *others), request, digitiser, provenance)
                journal.clear()
                for path in _journals(output):
                    path.unlink()
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {_kept(journal, output, manifest, request)}") from None
        except UsageError:
            raise
        except CaloforgeError as error:
            who = f"rank {ranks.rank} of {ranks.world}: " if ranks.rank else ""
            raise CaloforgeError(f"{who}{error}; {_kept(journal, output, manifest, request)}") from None
    return SimulationResult(output, request.events, sum(made), seconds, data)


def _journals(output: Path) -> list[Path]:
    """List the journals of all ranks, also of earlier runs with other numbers of them."""
    return sorted(output.parent.glob(escape(journal_path(output).name) + "*"))


@contextmanager
def _others(journal: Journal, output: Path, manifest: Mapping[str, Any]) -> Iterator[list[Records]]:
    """Open the journals of the other ranks, as they are at this moment."""
    with ExitStack() as stack:
        found = []
        for path in _journals(output):
            if path != journal.path:
                try:
                    found.append(stack.enter_context(Records(path, manifest, journal.n_cells)))
                except FileNotFoundError:  # it was empty, and its rank has left
                    continue
        yield found


def _fill(
    journal: Journal,
    missing: Sequence[int],
    done: int,
    request: SimulationRequest,
    data: PhysicsData,
    workers: int,
    progress: Progress,
) -> Introduction:
    """Simulate what the journals lack; a worker starts in any case, to say which Geant4 it is."""
    total = done + len(missing)
    with WorkerPool(max(1, min(workers, len(missing))), request, data) as pool:
        progress(done, total)
        for shower in pool.showers(missing):
            journal.append(shower.index, shower.cell, shower.deposit)
            done += 1
            progress(done, total)
        return pool.introduction


def _write(
    output: Path,
    journals: Sequence[Records],
    request: SimulationRequest,
    digitiser: Digitiser | None,
    provenance: dict[str, Any],
) -> None:
    place = {index: journal for journal in journals for index in journal}
    lost = [index for index in range(request.n_primaries) if index not in place]
    if lost:
        raise CaloforgeError(f"{output}: {len(lost)} showers are in no journal, the first is {lost[0]}")
    grid, detector = request.detector.grid, request.detector
    with open_writer(output, digitiser.grid(grid) if digitiser else grid, provenance) as writer:
        for start in range(0, request.events, ROWS_AT_ONCE):
            showers = _showers(place, request, range(request.events)[start : start + ROWS_AT_ONCE])
            if detector.zero_suppression:
                showers = showers.above(detector.threshold_MeV)
            writer.append(digitiser(showers, start) if digitiser else showers)


def _showers(place: Mapping[int, Records], request: SimulationRequest, rows: range) -> Showers:
    grid, k = request.detector.grid, request.overlay
    deposits = np.zeros((len(rows), grid.n_cells), np.float32)
    indices = range(rows.start * k, rows.stop * k)
    for i, index in enumerate(indices):
        cell, deposit = place[index].read(index)
        deposits[i // k, cell] += deposit
    primaries = [request.primary(index) for index in indices]
    conditions = Conditions.of(
        [p.energy_MeV for p in primaries],
        [p.theta_rad for p in primaries],
        [p.phi_rad for p in primaries],
        [p.impact_xy_mm for p in primaries],
        [p.pdg_id for p in primaries],
    )
    if k > 1:
        conditions = conditions.overlaid(k)
    return Showers(deposits.reshape(-1, *grid.shape), grid=grid, **vars(conditions))


def _provenance(
    request: SimulationRequest, data: PhysicsData, introduction: Introduction
) -> dict[str, Any]:
    return {
        "program": f"caloforge {version('caloforge')}",
        "geant4": introduction.geant4_version,
        "geant4_pybind": version("geant4-pybind"),
        "physics_list": introduction.physics_list,
        "physics_tables": data.to_json(),
        **({"sampling_fraction": fraction} if (fraction := request.detector.sampling_fraction) else {}),
        "seed": request.seed,
        "events": request.events,
        **request.spectra(),
        **({"overlay": request.overlay} if request.overlay > 1 else {}),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _kept(
    journal: Journal, output: Path, manifest: Mapping[str, Any], request: SimulationRequest
) -> str:
    with _others(journal, output, manifest) as others:
        done = len({i for records in (journal, *others) for i in records if i < request.n_primaries})
    if not done:
        return "no shower was finished"
    return f"{done} of {request.n_primaries} showers are kept, the same command goes on from there"
