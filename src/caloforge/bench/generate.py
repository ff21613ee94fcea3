"""How long a generated shower takes: Geant4's, and those of the networks here.

Everything takes its turn, round after round, on the same cores; medians of the rounds count, of Geant4 the
mean, since its showers differ. A time is from conditions to showers in memory, or in a finished file.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import fmean, median

import torch

from caloforge.bench import Row
from caloforge.detector import load_detector
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.units import DEGREE, GEV, Spectrum
from caloforge.geant4.physics_data import find_physics_data
from caloforge.geant4.pool import WorkerPool
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import require_geant4
from caloforge.generation.condition_source import drawn
from caloforge.generation.engines.engine import NATIVE, installed
from caloforge.generation.sampler import Generator, generate_file, load, with_engine
from caloforge.generation.threads import ThreadPool
from caloforge.models.saved import ModelCard

__all__ = [
    "BATCHES",
    "NETWORKS",
    "STREAMS",
    "Way",
    "chosen",
    "connect",
    "measure",
    "race",
    "row_of",
    "ways",
]

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

    @property
    def shower_s(self) -> float:
        """Seconds a shower, in memory."""
        return median(self.taken) / self.showers


def measure(
    seconds: float,
    seed: int,
    progress: Progress = silent,
    only: Sequence[str] = (),
    streams: Sequence[int] = STREAMS,
) -> list[Row]:
    """Time conditions to showers for about ``seconds``, at least LEAST_ROUNDS rounds.

    ``only`` chooses rows: those that have all comma-separated words of one of these texts. Weights are the
    shipped ones, else untrained, which changes no time. Raises UsageError where no row is chosen,
    MissingExtraError without geant4-pybind for its row.
    """
    torch.manual_seed(seed)
    wanted = chosen(ways(streams), only)
    with ExitStack() as stack:
        connect(wanted, seed, seconds, stack)
        race(wanted, seconds, progress)
    return [row_of(way, wanted) for way in wanted]


def ways(streams: Sequence[int]) -> Iterator[Way]:
    """List Geant4, and every network with every engine, batch and number of streams."""
    cores = torch.get_num_threads()  # OMP_NUM_THREADS, or every core
    yield Way("Geant4", "Geant4", 1, 1, 1)
    setups = sorted({(1, 1), *((n, max(1, cores // n)) for n in streams)})
    for name in NETWORKS:
        for engine in installed():
            if engine == NATIVE and not name.startswith("copula"):
                continue  # which libcaloforge does not know
            for batch in BATCHES:
                for n, threads in setups:
                    if n == 1 or batch * n <= MOST_AT_ONCE:
                        # What a file costs, it costs with every engine.
                        filed = engine == "torch" and batch > 1
                        yield Way(name, engine, batch, n, threads, filed=filed)


def chosen(ways: Iterator[Way], only: Sequence[str]) -> list[Way]:
    """Return the ways that have all words of one of these texts; all if there is none. Raises UsageError."""
    words = [{word.strip() for word in text.split(",")} for text in only]
    found = [way for way in ways if not only or any(text <= {*way.label.split(", ")} for text in words)]
    if not found:
        raise UsageError(
            "--only: expected words of a row, such as 'copula, torch, batch 128'; none has these"
        )
    return found


def connect(ways: Sequence[Way], seed: int, seconds: float, stack: ExitStack) -> dict[str, Generator]:
    """Start what makes the showers of each way; return the networks by name."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    models = {name: generator(name) for name in NETWORKS if name in {way.name for way in ways}}
    for way in ways:
        if way.engine == "Geant4":
            require_geant4()
            request = SimulationRequest(load_detector(DETECTOR), events=1, energy=SPECTRUM, seed=seed)
            pool = stack.enter_context(WorkerPool(1, request, find_physics_data()))
            way.make = _geant4(way, pool, seconds)
        elif way.make is None:
            way.make = _ours(way, models[way.name], seed, folder / "x.h5")
    return models


def race(
    ways: Sequence[Way],
    seconds: float,
    progress: Progress,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Let all ways take their turns, after a first one that does not count; call ``between`` before each round."""
    turns = len(ways) * (1 + LEAST_ROUNDS)
    for number, way in enumerate(ways):
        progress(number, turns)
        _warm_up(way)
    stop, rounds = time.monotonic() + seconds, 0
    while rounds < LEAST_ROUNDS or time.monotonic() < stop:
        between()
        for number, way in enumerate(ways):
            if way.make is not None and rounds < way.turns:
                way.taken.append(way.make(False))
                if way.filed:
                    way.taken_file.append(way.make(True))
            progress(len(ways) * (1 + min(rounds, LEAST_ROUNDS - 1)) + number + 1, turns)
        rounds += 1


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


def generator(name: str) -> Generator:
    """Return the shipped model of this network and detector, or an untrained one."""
    if name == "copula":
        return load(DETECTOR)
    grid = load_detector(DETECTOR).grid
    card = ModelCard(
        name, grid, grid.threshold_MeV, (SPECTRUM.low, SPECTRUM.high), (90 * DEGREE, 90 * DEGREE)
    )
    model = card.build().eval()
    model.prepare()
    return Generator(model, card)


def row_of(way: Way, ways: Sequence[Way]) -> Row:
    """Return what is known of a way, beside Geant4 if it is among the ``ways``."""
    geant4_s = next((other.shower_s for other in ways if other.engine == "Geant4"), None)
    return {
        "way": way.name,
        "engine": way.engine,
        "batch": way.batch,
        "streams": way.streams,
        "threads": way.threads,
        "showers": way.showers * len(way.taken),
        "ms/shower": digits(1e3 * way.shower_s),
        "file ms": digits(1e3 * median(way.taken_file) / way.showers) if way.taken_file else "",
        "x_geant4": "" if geant4_s is None else round(geant4_s / way.shower_s / way.cores, 1),
    }


def digits(value: float) -> float:
    """Round to three digits."""
    return float(f"{value:.3g}")
