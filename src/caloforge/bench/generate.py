"""How long a generated shower takes: Geant4, the published 3DGAN in Keras, and the networks here.

Everything takes its turn, round after round, on the same cores; medians of the rounds count, of Geant4 the
mean, since its showers differ. A time is from conditions to showers in memory, or in a finished file. The floor is
what the arithmetic of the network as published, or the memory that it must touch, costs at the rates that
this machine reaches in the same rounds; fewer operations than published can beat it.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import fmean, median

import numpy as np
import torch

from caloforge.bench import Row
from caloforge.bench.keras_baseline import started
from caloforge.bench.roofline import Cost, copy_bytes_per_s, count_cost, matmul_flop_per_s
from caloforge.detector import load_detector
from caloforge.files.shipped import pretrained_weights, shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.units import GEV, Spectrum
from caloforge.geant4.physics_data import find_physics_data
from caloforge.geant4.pool import WorkerPool
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import require_geant4
from caloforge.generation.engines.engine import installed
from caloforge.generation.sampler import Generator, drawn, generate_file, load, with_engine
from caloforge.generation.threads import ThreadPool
from caloforge.models.base import ShowerModel
from caloforge.models.objective import TrainingShowers
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard, read_card
from caloforge.models.threedgan.as_written import as_written

__all__ = ["SHOWN", "measure"]

SHOWN = ("way", "engine", "batch", "streams", "threads", "ms/shower", "x_floor", "x_geant4", "x_keras")
"""The columns that fit a terminal; the result file has all."""

DETECTOR = "clic-ecal"
SPECTRUM = Spectrum("uniform", (10 * GEV, 500 * GEV))
NETWORKS = ("3dgan", "copula")
BATCHES = (1, 128, 1024)
STREAMS = (1, 2, 4)
LEAST_ROUNDS = 3
TURN_S = 0.2
"""A measurement makes as many batches as take about so long, at least one a stream."""

TO_FILE = 5
"""So many times as many go to a file, that the end of a file, when all must be on the disk, counts as little."""

MOST_AT_ONCE = 2048
"""Batch times streams beyond which nothing is learned that would be worth its time."""

SLOW_BATCH = 1024
"""The batch from which on Keras, which then takes a minute, has one turn only."""


@dataclass
class Way:
    """One way to make showers; ``make(file)`` makes ``showers`` of them and says how many seconds that took."""

    name: str
    engine: str
    batch: int
    streams: int
    threads: int
    make: Callable[[bool], float] | None = None
    showers: int = 0
    filed: bool = False
    turns: int = 10**9
    taken: list[float] = field(default_factory=list)
    taken_file: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What ``--only`` looks at."""
        where = f"batch {self.batch}, streams {self.streams}, threads {self.threads}"
        return f"{self.name}, {self.engine}, {where}"

    @property
    def cores(self) -> int:
        """Cores that it can keep busy."""
        return min(self.streams * self.threads, torch.get_num_threads())


def measure(
    seconds: float,
    seed: int,
    progress: Progress = silent,
    only: Sequence[str] = (),
    streams: Sequence[int] = STREAMS,
) -> list[Row]:
    """Time conditions to showers for about ``seconds``, at least LEAST_ROUNDS rounds.

    ``only`` chooses rows: those that have all comma-separated words of one of these texts. Weights are the
    shipped ones, else untrained, which changes no time; the laws of a copula's cells are then those with which
    its training begins, so that as many are hit as in Geant4's showers. Without Keras its rows are left out.
    Raises UsageError where no row is chosen, MissingExtraError without geant4-pybind for its row.
    """
    torch.manual_seed(seed)
    cores = torch.get_num_threads()  # OMP_NUM_THREADS, or every core
    ways = [way for way in _ways(cores, streams) if _chosen(way, only)]
    if not ways:
        raise UsageError(
            "--only: expected words of a row, such as 'copula, torch, batch 128'; none has these"
        )
    models = {name: _generator(name) for name in NETWORKS if name in {way.name for way in ways}}
    costs = {name: _cost(name, generator) for name, generator in models.items()}
    best: dict[int, list[tuple[float, float]]] = {threads: [] for threads in sorted({1, cores})}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _connect(ways, models, seed, seconds, folder, stack)
        for number, way in enumerate(ways):
            progress(number, len(ways) * (1 + LEAST_ROUNDS))
            _warm_up(way)
        stop, rounds = time.monotonic() + seconds, 0
        while rounds < LEAST_ROUNDS or time.monotonic() < stop:
            for threads, reached in best.items():
                torch.set_num_threads(threads)
                reached.append((matmul_flop_per_s(), copy_bytes_per_s()))
            torch.set_num_threads(cores)
            for number, way in enumerate(ways):
                if way.make is not None and rounds < way.turns:
                    way.taken.append(way.make(False))
                    if way.filed:
                        way.taken_file.append(way.make(True))
                done = min(rounds, LEAST_ROUNDS - 1) * len(ways) + number + 1
                progress(len(ways) + done, len(ways) * (1 + LEAST_ROUNDS))
            rounds += 1
    rates = {
        n: (median(f for f, _ in reached), median(b for _, b in reached)) for n, reached in best.items()
    }
    return [*_machine_rows(rates), *_rows(ways, costs, rates)]


def _chosen(way: Way, only: Sequence[str]) -> bool:
    words = [[word.strip() for word in text.split(",")] for text in only]
    have = way.label.split(", ")
    return not only or any(all(word in have for word in text) for text in words)


def _ways(cores: int, streams: Sequence[int]) -> Iterator[Way]:
    yield Way("Geant4", "Geant4", 1, 1, 1)
    setups = sorted({(1, 1), *((n, max(1, cores // n)) for n in streams)})
    for batch in BATCHES:
        for threads in sorted({1, cores}):
            slow = batch >= SLOW_BATCH
            if not slow or threads == cores:
                yield Way("3dgan", "Keras", batch, 1, threads, turns=1 if slow else 10**9)
    for name in NETWORKS:
        for engine in installed():
            for batch in BATCHES:
                for n, threads in setups:
                    if n == 1 or batch * n <= MOST_AT_ONCE:
                        # What a file costs, it costs with every engine.
                        filed = engine == "torch" and batch > 1
                        yield Way(name, engine, batch, n, threads, filed=filed)


def _connect(
    ways: list[Way],
    models: dict[str, Generator],
    seed: int,
    seconds: float,
    folder: Path,
    stack: ExitStack,
) -> None:
    """Start what makes the showers of each way; take out the ways of a Keras that is not there."""
    keras: dict[int, Callable[[int], float]] = {}
    if find_spec("keras") is None:
        ways[:] = [way for way in ways if way.engine != "Keras"]
    for way in ways:
        if way.engine == "Geant4":
            require_geant4()
            request = SimulationRequest(load_detector(DETECTOR), events=1, energy=SPECTRUM, seed=seed)
            pool = stack.enter_context(WorkerPool(1, request, find_physics_data()))
            way.make = _geant4(way, pool, seconds)
        elif way.engine == "Keras":
            if way.threads not in keras:
                with_name, keras[way.threads] = stack.enter_context(started("generate", way.threads))
            way.make = _keras(way, keras[way.threads])
            way.engine, way.showers = with_name, way.batch
        else:
            way.make = _ours(way, models[way.name], seed, folder / "x.h5")


def _geant4(way: Way, pool: WorkerPool, seconds: float) -> Callable[[bool], float]:
    """Return the seconds of a mean shower. It takes half of the time, as its showers differ."""
    showers = pool.showers(count())
    times: list[float] = []

    def make(_: bool) -> float:
        turn = time.monotonic() + seconds / 20
        while not times or time.monotonic() < turn:
            times.append(next(showers).seconds)
        way.showers = len(times)
        way.taken.clear()
        return fmean(times) * len(times)

    return make


def _keras(way: Way, seconds: Callable[[int], float]) -> Callable[[bool], float]:
    return lambda _: seconds(way.batch)


def _ours(way: Way, generator: Generator, seed: int, path: Path) -> Callable[[bool], float]:
    cores = torch.get_num_threads()
    torch.set_num_threads(way.cores)
    pool = ThreadPool(way.streams)
    ready, _ = with_engine(generator, way.engine, way.batch, pool)
    torch.set_num_threads(cores)

    def make(to_file: bool) -> float:
        torch.set_num_threads(way.cores)
        source = drawn(way.showers * (TO_FILE if to_file else 1), SPECTRUM, None, seed)
        begun = time.perf_counter()
        if to_file:
            generate_file(ready, source, path, seed=seed, batch=way.batch, pool=pool)
        else:
            energy = source.piece(0, way.showers).incident_energy
            ready.generate(energy, seed=seed, batch=way.batch, pool=pool)
        taken = time.perf_counter() - begun
        torch.set_num_threads(cores)
        return taken / TO_FILE if to_file else taken

    return make


def _warm_up(way: Way) -> None:
    """Let the first calls allocate and plan, and find how many showers make a turn."""
    if way.make is None or way.engine == "Geant4" or way.turns == 1:
        return
    ours = not way.showers
    way.showers = way.showers or way.batch * way.streams
    if way.make(False) < TURN_S and ours:
        batches = math.ceil(TURN_S / way.make(False)) * way.streams
        way.showers = way.batch * min(batches, 512)


def _generator(name: str) -> Generator:
    """Return the shipped model of this network and detector, or an untrained one."""
    for shipped, folder in pretrained_weights().items():
        card = read_card(folder)
        if card.name == name and card.grid.name == DETECTOR:
            return load(shipped)
    grid = load_detector(DETECTOR).grid
    card = ModelCard(
        name, grid, grid.threshold_MeV, (SPECTRUM.low, SPECTRUM.high), (np.pi / 2, np.pi / 2)
    )
    return Generator(_untrained(card), card)


def _untrained(card: ModelCard) -> ShowerModel:
    with ShowerFile(shipped_showers("test")) as file:
        showers = file.read()
    family = MODELS[card.name]
    held = TrainingShowers.held(showers, card.threshold_MeV)
    model = family.begin(family.settings(model=card.name), held).model
    model.eval().prepare()
    return model


def _cost(name: str, generator: Generator) -> Cost:
    plain = MODELS[name].build(generator.card.grid, generator.card.threshold_MeV)
    as_written(plain.eval())
    plain.prepare()
    return count_cost(generator.model, plain)


def _machine_rows(rates: dict[int, tuple[float, float]]) -> list[Row]:
    rows = []
    for threads, (flop_per_s, bytes_per_s) in rates.items():
        best = {"GFLOP/s": round(flop_per_s / 1e9, 1), "GB/s": round(bytes_per_s / 1e9, 1)}
        rows.append(_row(Way("machine", "at best", 0, 1, threads), **best))
    return rows


def _rows(
    ways: list[Way], costs: dict[str, Cost], rates: dict[int, tuple[float, float]]
) -> Iterator[Row]:
    shower_s = {id(way): median(way.taken) / way.showers for way in ways}
    geant4_s = next((shower_s[id(way)] for way in ways if way.engine == "Geant4"), None)
    keras_s = {
        (way.batch, way.cores): shower_s[id(way)] for way in ways if way.engine.startswith("Keras")
    }
    for way in ways:
        mine = shower_s[id(way)]
        figures: dict[str, str | float] = {"ms/shower": _digits(1e3 * mine)}
        if way.taken_file:
            figures["file ms"] = _digits(1e3 * median(way.taken_file) / way.showers)
        if way.name in costs:
            cost = costs[way.name]
            best = rates.get(way.cores) or tuple(way.cores * rate for rate in rates[1])
            floor = cost.floor_s(way.batch, *best)
            figures |= {
                "MFLOP": round(cost.flop / 1e6, 2),
                "kB": round(cost.bytes(way.batch) / 1e3, 1),
                "GFLOP/s": round(cost.flop / mine / 1e9, 1),
                "GB/s": round(cost.bytes(way.batch) / mine / 1e9, 2),
                "floor ms": _digits(1e3 * floor),
                "x_floor": round(mine / floor, 2),
            }
        if geant4_s is not None:
            figures["x_geant4"] = round(geant4_s / mine / way.cores, 1)
        if (way.batch, way.cores) in keras_s:
            figures["x_keras"] = round(keras_s[way.batch, way.cores] / mine, 1)
        yield _row(way, **figures)


def _row(way: Way, **figures: str | float) -> Row:
    row: Row = {
        "way": way.name,
        "engine": way.engine,
        "batch": way.batch or "",
        "streams": way.streams,
        "threads": way.threads,
        "showers": way.showers * len(way.taken) or "",
    }
    columns = (
        "ms/shower",
        "file ms",
        "MFLOP",
        "kB",
        "GFLOP/s",
        "GB/s",
        "floor ms",
        "x_floor",
        "x_geant4",
        "x_keras",
    )
    return row | {column: figures.get(column, "") for column in columns}


def _digits(value: float) -> float:
    """Round to three digits."""
    return float(f"{value:.3g}")
