"""ThreadPool: in order, each in its place, and the showers of one."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from commands import PATIENCE_S
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.detector import Grid
from caloforge.foundations.cores import Topology
from caloforge.foundations.ranks import Ranks
from caloforge.foundations.units import GEV, Spectrum
from caloforge.generation.condition_source import drawn
from caloforge.generation.sampler import Generator, generate_file
from caloforge.generation.threads import ThreadPool
from caloforge.models.registry import MODELS
from caloforge.models.saved import ModelCard

GRID = Grid("small", (16, 16, 8), threshold_MeV=0.001)  # 128 showers fill a chunk of a file


@given(st.lists(st.floats(0, 0.002), max_size=20), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_what_is_made_comes_in_order(delays: list[float], count: int) -> None:
    def make(item: tuple[int, float]) -> int:
        time.sleep(item[1])
        return item[0]

    assert list(ThreadPool(count).map(make, enumerate(delays))) == list(range(len(delays)))


def test_only_a_few_are_made_ahead() -> None:
    items = iter(range(1000))
    made = ThreadPool(2).map(lambda item: 2 * item, items)
    assert [next(made) for _ in range(3)] == [0, 2, 4]
    made.close()
    assert next(items) < 20


def test_an_error_comes_through_and_ends_the_streams() -> None:
    def make(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    with pytest.raises(ValueError, match="three"):
        list(ThreadPool(2).map(make, range(100)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stream")]


def test_a_stream_stays_on_its_cores_and_the_caller_where_it_was() -> None:
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    together = threading.Barrier(2)

    def make(item: int) -> tuple[frozenset[int], int]:
        together.wait(PATIENCE_S)
        return frozenset(os.sched_getaffinity(0)), torch.get_num_threads()

    places = dict(ThreadPool(2).map(make, range(2)))
    wanted = Topology.read().shares(2)
    assert set(places) == {frozenset(cpu for core in share for cpu in core) for share in wanted}
    assert set(places.values()) == {max(1, threads // 2)}
    assert (os.sched_getaffinity(0), torch.get_num_threads()) == (before, threads)


def test_ranks_that_nobody_bound_take_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology((tuple((cpu,) for cpu in range(8)),))
    monkeypatch.setattr(Topology, "read", lambda: topology)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    second = Ranks(rank=1, world=2, local_rank=1, local_world=2, job="job")
    assert ThreadPool(2, second)._processors() == [{4, 5}, {6, 7}]
    assert ThreadPool(2)._processors() == [{0, 1, 2, 3}, {4, 5, 6, 7}]
    monkeypatch.setattr(os, "cpu_count", lambda: 16)  # bound by the launcher: all of these are its own
    assert ThreadPool(2, second)._processors() == [{0, 1, 2, 3}, {4, 5, 6, 7}]


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    model = MODELS["3dgan"].build(GRID, 1.0).eval()
    card = ModelCard("3dgan", GRID, 1.0, (10e3, 500e3), (np.pi / 2, np.pi / 2))
    return Generator(model, card)


# Batches that fill chunks, and such that do not.
@pytest.mark.parametrize(("count", "batch"), [(300, 128), (70, 9)])
def test_streams_make_the_file_of_one(
    generator: Generator, tmp_path: Path, count: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # as many threads a stream in both
    source = drawn(count, Spectrum("uniform", (10 * GEV, 500 * GEV)), None, 1)
    contents = []
    for streams in 1, 3:
        path = tmp_path / f"{streams}.h5"
        generate_file(generator, source, path, seed=1, batch=batch, pool=ThreadPool(streams))
        with h5py.File(path) as file:
            contents.append({name: file[name][:].tobytes() for name in file})
    assert contents[0] == contents[1]
    energy = source.piece(0, count).incident_energy
    made = generator.generate(energy, seed=1, batch=batch, pool=ThreadPool(2))
    assert made.deposits.tobytes() == contents[0]["showers"]


def test_a_failed_stream_leaves_no_file(generator: Generator, tmp_path: Path) -> None:
    def stop(done: int, total: int, **figures: float | str) -> None:
        if done > 8:
            raise KeyboardInterrupt

    source = drawn(64, Spectrum("uniform", (10 * GEV, 500 * GEV)), None, 1)
    with pytest.raises(KeyboardInterrupt):
        generate_file(
            generator, source, tmp_path / "x.h5", seed=1, batch=4, pool=ThreadPool(2), progress=stop
        )
    assert list(tmp_path.iterdir()) == []
