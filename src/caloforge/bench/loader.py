"""How fast training gets its showers, beside plain HDF5 and a copy in memory.

All readers run on one thread with their files in the page cache; they take turns, and the median of
the turns counts. The limit is a copy of dense showers from memory: no reader writes them faster.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count, cycle
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.bench import Row
from caloforge.files.hdf5 import open_hdf5
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import ShowerStore, prepare_store
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream
from caloforge.training.augmentation import allowed_symmetries
from caloforge.training.loader import Loader

__all__ = ["measure"]

BATCHES = (128, 8)
TURNS = 5
MEMORY_BYTES = 1 << 26
"""How much of the dense showers the copy from memory takes turns with."""

STORE, AUGMENTED = "store", "store, augmented"
PREPARE = "preparing the store, once"
RANDOM, IN_ORDER, MEMORY = "HDF5, random", "HDF5, in order", "memory copy"


def measure(
    seconds: float, seed: int, progress: Progress = silent, data: Path | None = None
) -> list[Row]:
    """Read the shower file ``data`` (the package's own, if None) in every way, in batches.

    A row gives the rate, how many times that of HDF5 read at random and of the copy it is, and the
    MB that the reader reads from. All but one way take showers at random. The last row is the making of
    the store from the file.

    Raises UsageError or CaloforgeError for a missing, empty or broken file.
    """
    with ExitStack() as stack:
        if data is None:
            data = shipped_showers("train")
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="caloforge-bench-"))
        started = time.perf_counter()
        store = prepare_store([data], Path(cache), threshold_MeV=0.0)
        prepared = len(store) / (time.perf_counter() - started)
        if not len(store):
            raise CaloforgeError(f"{data}: expected at least one shower")
        deposits = stack.enter_context(open_hdf5(data))["showers"]
        with ShowerFile(data) as file:
            memory = file.read(0, 1 + MEMORY_BYTES // (4 * store.grid.n_cells)).deposits
        size = {RANDOM: data.stat().st_size, IN_ORDER: data.stat().st_size}
        size |= dict.fromkeys((PREPARE, STORE, AUGMENTED), store.n_bytes)
        size |= {MEMORY: len(store) * memory[0].nbytes}
        readers = {
            (name, batch): reader
            for batch in BATCHES
            for name, reader in _readers(store, deposits, memory, min(batch, len(store)), seed).items()
        }
        turns = [key for _ in range(TURNS) for key in readers]
        rates: dict[tuple[str, int], list[float]] = {key: [] for key in readers}
        for done, key in enumerate(turns, 1):
            rates[key].append(_per_second(readers[key], seconds / len(turns)))
            progress(done, len(turns))
    rate = {key: median(values) for key, values in rates.items()}
    rate[PREPARE, BATCHES[0]] = prepared
    return [
        {
            "reader": name,
            "batch": batch,
            "showers_per_s": rate[name, batch],
            "x_hdf5": rate[name, batch] / rate[RANDOM, batch],
            "x_memory": rate[name, batch] / rate[MEMORY, batch],
            "MB": size[name] / 1e6,
        }
        for name, batch in (*readers, (PREPARE, BATCHES[0]))
    ]


def _readers(
    store: ShowerStore, deposits: Any, memory: NDArray[np.float32], batch: int, seed: int
) -> dict[str, Callable[[], int]]:
    """Return functions that read one batch and return its length, by name."""
    n = len(store)
    out = np.empty((batch, *store.grid.shape), np.float32)
    draws = stream(seed, "bench-loader")
    symmetries = allowed_symmetries(store.grid, store.conditions)
    loader = Loader(store, np.arange(n), batch_size=batch, seed=seed, augmentations=symmetries)
    steps, starts = count(), cycle(range(0, n, batch))

    def hdf5_random() -> int:
        for row, shower in zip(out, draws.integers(n, size=batch).tolist(), strict=True):
            row[...] = deposits[shower]
        return batch

    def hdf5_in_order() -> int:
        first = next(starts)
        return len(deposits[first : first + batch])

    return {
        STORE: lambda: len(store.dense(draws.integers(n, size=batch), out)),
        AUGMENTED: lambda: len(loader.batch(next(steps)).deposits_BXYZ),
        RANDOM: hdf5_random,
        IN_ORDER: hdf5_in_order,
        MEMORY: lambda: len(memory.take(draws.integers(len(memory), size=batch), 0, out, "clip")),
    }


def _per_second(work: Callable[[], int], seconds: float) -> float:
    """Return the showers per second of ``work``, called for about ``seconds``, at least once."""
    started, showers = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds or not showers:
        showers += work()
    return showers / elapsed
