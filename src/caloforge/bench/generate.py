"""How long a generated shower takes, beside one of Geant4 and beside what the arithmetic alone would cost.

The floor is the number of multiplications and additions of the network as published, over the rate
at which this machine multiplies large matrices, measured in the same run. Fewer operations than
published (an upsampling that is never made, for one) can beat it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from statistics import fmean, median

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from caloforge.bench import Row
from caloforge.bench.train import as_written
from caloforge.detector import Grid, load_detector
from caloforge.io.shipped import shipped_showers
from caloforge.io.shower_file import ShowerFile
from caloforge.models.base import ShowerModel
from caloforge.models.factor_copula import FactorCopula
from caloforge.models.families import MODELS
from caloforge.progress import Progress, silent
from caloforge.showers import Conditions
from caloforge.simulation.physics_data import find_physics_data
from caloforge.simulation.pool import WorkerPool
from caloforge.simulation.request import SimulationRequest
from caloforge.simulation.run import require_geant4
from caloforge.training.likelihood import LikelihoodObjective
from caloforge.training.loader import Batch
from caloforge.units import GEV, Spectrum

__all__ = ["measure"]

DETECTOR = "clic-ecal"
SPECTRUM = Spectrum("uniform", (10 * GEV, 500 * GEV))
NETWORKS = ("3dgan", "3dgan-x16", "copula")
BATCHES = (1, 128)
LEAST_ROUNDS = 3


def measure(seconds: float, seed: int, progress: Progress = silent) -> list[Row]:
    """Time conditions to showers in memory, in turn and repeated; medians of the rounds.

    Geant4 runs on one core, a network on all threads that torch has; ``x_geant4`` compares them
    as they are. Weights are untrained, which changes no time; the laws of a copula's cells are those with
    which its training begins, so that as many are hit as in Geant4's showers. Raises MissingExtraError
    without geant4-pybind.
    """
    require_geant4()
    threads = torch.get_num_threads()  # OMP_NUM_THREADS, or every core
    torch.manual_seed(seed)
    grid = load_detector(DETECTOR).grid
    ways = {(name, batch): _sampling(name, grid, batch, seed) for name in NETWORKS for batch in BATCHES}
    flop = {name: _flop(name, grid) for name in NETWORKS}
    taken: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    geant4, peak = list[float](), list[float]()
    request = SimulationRequest(load_detector(DETECTOR), events=1, energy=SPECTRUM, seed=seed)
    with WorkerPool(1, request, find_physics_data()) as pool:
        showers = pool.showers(count())
        for sample in ways.values():
            sample()  # the first call allocates and plans
        stop, rounds = time.monotonic() + seconds, 0
        while rounds < LEAST_ROUNDS or time.monotonic() < stop:
            # Energies differ from shower to shower: Geant4's mean counts, and takes half of the time.
            turn = time.monotonic() + seconds / 20
            while not geant4 or time.monotonic() < turn:
                geant4.append(next(showers).seconds)
            peak.append(_matmul_flop_per_s())
            for way, sample in ways.items():
                taken[way].append(sample())
            rounds += 1
            progress(min(rounds, LEAST_ROUNDS), LEAST_ROUNDS)
    mean_s = fmean(geant4)
    rows: list[Row] = [_row("Geant4", 1, 1, len(geant4), mean_s, mean_s, "")]
    for (name, batch), times in taken.items():
        floor = f"{1e3 * flop[name] / median(peak):.2f}"
        rows.append(_row(name, batch, threads, rounds * batch, median(times) / batch, mean_s, floor))
    return rows


def _row(
    way: str, batch: int, threads: int, n: int, shower_s: float, geant4_s: float, floor: str
) -> Row:
    return {
        "way": way,
        "batch": batch,
        "threads": threads,
        "showers": n,
        "ms/shower": round(1e3 * shower_s, 3),
        "floor ms": floor,
        "x_geant4": round(geant4_s / shower_s, 1),
    }


def _sampling(name: str, grid: Grid, batch: int, seed: int) -> Callable[[], float]:
    model = _model(name, grid)
    conditions = Conditions.of(SPECTRUM.quantile(np.linspace(0, 1, batch, endpoint=False)))

    def sample() -> float:
        started = time.perf_counter()
        model.sample(conditions, seed)
        return time.perf_counter() - started

    return sample


def _model(name: str, grid: Grid) -> ShowerModel:
    model = MODELS[name].generator(grid, grid.threshold_MeV)
    if isinstance(model, FactorCopula):
        with ShowerFile(shipped_showers("test")) as file:
            showers = file.read()
        batch = Batch(
            torch.from_numpy(showers.deposits),
            torch.from_numpy(showers.incident_energy),
            torch.from_numpy(showers.incident_theta),
            torch.zeros(len(showers), 2),
        )
        LikelihoodObjective(model, batch, len(showers))
    model.eval().prepare()
    return model


def _flop(name: str, grid: Grid) -> float:
    model = _model(name, grid)
    as_written(model)
    with FlopCounterMode(display=False) as counter:
        model.sample(Conditions.of([SPECTRUM.low]), 1)
    return float(counter.get_total_flops())


def _matmul_flop_per_s(size: int = 1024, repeats: int = 10) -> float:
    a, b = torch.ones(size, size), torch.ones(size, size)
    torch.mm(a, b)
    started = time.perf_counter()
    for _ in range(repeats):
        torch.mm(a, b)
    return repeats * 2 * size**3 / (time.perf_counter() - started)
