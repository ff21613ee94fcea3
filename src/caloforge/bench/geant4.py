"""How long Geant4 takes for a shower, on one core, in each detector of the package."""

from __future__ import annotations

import math
import time
from itertools import count
from statistics import fmean, stdev

from caloforge.bench import Row
from caloforge.detector import load_detector, shipped_detectors
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.units import GEV, Spectrum
from caloforge.geant4.physics_data import find_physics_data
from caloforge.geant4.pool import WorkerPool
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import require_geant4

__all__ = ["measure"]

SPECTRA_GEV = ("50", "10:500")


def measure(seconds: float, seed: int, progress: Progress = silent) -> list[Row]:
    """Time showers of one energy and of the published range; at least two of each.

    ``startup_s`` is from the start of the process to the first shower, physics tables included;
    ``mean_s`` is the time of a shower, with its statistical error; ``per_s`` its inverse.
    Raises MissingExtraError without geant4-pybind.
    """
    require_geant4("bench geant4")
    tasks = [(name, spectrum) for name in shipped_detectors() for spectrum in SPECTRA_GEV]
    rows = []
    for done, (name, spectrum) in enumerate(tasks):
        progress(done, len(tasks))
        rows.append(_time(name, spectrum, seconds / len(tasks), seed))
    progress(len(tasks), len(tasks))
    return rows


def _time(name: str, spectrum_GeV: str, seconds: float, seed: int) -> Row:
    energy = Spectrum.parse(spectrum_GeV, unit=GEV)
    request = SimulationRequest(load_detector(name), events=1, energy=energy, seed=seed)
    started = time.perf_counter()
    times: list[float] = []
    with WorkerPool(1, request, find_physics_data()) as pool:
        startup = time.perf_counter() - started
        for shower in pool.showers(count()):
            times.append(shower.seconds)
            if len(times) > 1 and time.perf_counter() - started > seconds:
                break
    mean = fmean(times)
    return {
        "detector": name,
        "GeV": spectrum_GeV,
        "showers": len(times),
        "startup_s": startup,
        "mean_s": mean,
        "error_s": stdev(times) / math.sqrt(len(times)),
        "per_s": 1 / mean,
    }
