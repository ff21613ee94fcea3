"""Sums along a grid, by real processes: the sum of a ring, the same bits for all, and for nobody a hang."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from commands import PATIENCE_S
from torch import nn

from caloforge.files.tensors import load_tensors
from caloforge.foundations.ranks import Ranks
from caloforge.training.all_reduce import AllReduce, Grid
from caloforge.training.checkpoint import checkpoints
from caloforge.training.config import load_config
from caloforge.training.data_parallel import Group, join
from caloforge.training.gradients import BUCKET, SummedGradients
from caloforge.training.grids import Way
from caloforge.training.trainer import train

pytestmark = pytest.mark.process

PER_NODE = 2

Together = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as processes:
        yield processes


@pytest.fixture
def together(pool: ProcessPoolExecutor, tmp_path: Path) -> Together:
    """Return a function that calls another in workers, two on each of what they take for nodes."""

    def call(world: int, way: Way, work: Callable[..., Any], *arguments: Any) -> list[Any]:
        futures = [
            pool.submit(_joined, _ranks(r, world), tmp_path / "run", way, work, *arguments)
            for r in range(world)
        ]
        return [future.result(timeout=PATIENCE_S) for future in futures]

    return call


def _ranks(rank: int, world: int) -> Ranks:
    return Ranks(rank, world, rank % PER_NODE, PER_NODE, "job")


def _joined(ranks: Ranks, meeting: Path, way: Way, work: Callable[..., Any], *arguments: Any) -> Any:
    torch.set_num_threads(1)
    with (
        mock.patch("caloforge.training.all_reduce.best_way", return_value=way),
        join(ranks, meeting) as group,
    ):
        return work(group, *arguments)


def _sums(group: Group, sides: tuple[int, ...], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Add up along a grid, again, and by the backend's ring."""
    grid = Grid(sides, group.rank)
    mine = torch.randn(12 * 50, generator=torch.Generator().manual_seed(group.rank)).to(dtype)
    once, again, ring = mine.clone(), mine.clone(), mine.float()
    grid.add_up(once)
    grid.add_up(again)
    dist.all_reduce(ring)
    return once, again, ring


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sides", [(2, 2), (4,), (3, 2), (1, 6)])
def test_a_grid_adds_up_like_a_ring_and_all_get_the_same_bits(
    together: Together, sides: tuple[int, ...], dtype: torch.dtype
) -> None:
    world = math.prod(sides)
    results = together(world, world, _sums, sides, dtype)
    first = results[0][0]
    assert first.dtype == dtype
    for once, again, _ in results:
        assert torch.equal(once, first)
        assert torch.equal(again, first)
    ring, digits = results[0][2], torch.finfo(dtype).eps
    # Each of the grid's directions rounds once more.
    assert (first - ring).abs().max() <= 2 * digits * ring.abs().max()
    assert ring.std() > 0.8 * math.sqrt(world)


class _Deep(nn.Module):
    """Three messages, ready one after the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        sizes = (BUCKET + 3, BUCKET, BUCKET + 1)
        self.layers = nn.ParameterList([torch.randn(n) for n in sizes])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(x + (layer * torch.linspace(-1, 1, len(layer))).mean())
        return x.sum()


def _gradients(group: Group, bf16: bool) -> tuple[list[torch.Tensor], list[str]]:
    """Return the gradients of a pass, and in which order it ended and messages began to leave."""
    network, frozen = _Deep(), _Deep()
    gradients = SummedGradients(network, group, bf16=bf16)
    nothing = SummedGradients(frozen, group)
    frozen.requires_grad_(False)
    events, start = list[str](), AllReduce.start

    def noted(self: AllReduce, flat_N: torch.Tensor, grid: Grid | None) -> Callable[[], object]:
        events.append("ring" if grid is None else "grid")
        return start(self, flat_N, grid)

    with mock.patch.object(AllReduce, "start", noted):
        network(frozen(torch.ones(2) * (1 + group.rank))).backward()
        events.append("end of the pass")
        gradients.wait()
    assert not nothing._sent
    return [p.grad for p in network.parameters() if p.grad is not None], events


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize(("world", "way"), [(4, (2, 2)), (6, (3, 2))])
def test_gradients_leave_along_a_grid_while_the_pass_goes_on(
    together: Together, world: int, way: Way, bf16: bool
) -> None:
    expected, sent = together(world, world, _gradients, False)[0]
    assert sent == ["ring"] * 3 + ["end of the pass"]
    results = together(world, way, _gradients, bf16)
    for gradients, events in results:
        assert events == ["grid"] * 3 + ["end of the pass"]
        for mine, first, by_ring in zip(gradients, results[0][0], expected, strict=True):
            assert torch.equal(mine, first)
            limit = 1e-2 if bf16 else 1e-6
            assert (mine - by_ring).norm() <= limit * by_ring.norm() > 0


def _layout(group: Group, per_node: list[int]) -> tuple[int, int]:
    ends = [sum(per_node[: i + 1]) for i in range(len(per_node))]
    node = next(i for i, end in enumerate(ends) if group.rank < end)
    local_rank = group.rank - ends[node] + per_node[node]
    sums = AllReduce(Ranks(group.rank, group.world, local_rank, per_node[node]))
    return sums._nodes, sums._per_node


def test_nodes_that_differ_are_not_counted_on(together: Together) -> None:
    assert together(6, 6, _layout, [2, 2, 2]) == [(3, 2)] * 6
    assert together(6, 6, _layout, [3, 3]) == [(2, 3)] * 6
    assert together(6, 6, _layout, [4, 2]) == [(6, 1)] * 6
    assert together(6, 6, _layout, [1, 2, 3]) == [(6, 1)] * 6


def _train(group: Group, data: Path, out: Path) -> Any:
    settings = ["batch_size=2", "check_showers=4", "checkpoint_every_steps=1", "max_steps=3"]
    return train(load_config(settings=settings), [data], out, group=group)["best"]


def test_training_along_a_grid_is_the_same_every_time(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    # At each checkpoint the workers compare their weights bit for bit.
    runs = [tmp_path / name for name in ("one", "other", "ring")]
    for run, way in zip(runs, ((2, 2), (2, 2), 4), strict=True):
        results = together(4, way, _train, small_showers, run)
        assert results == results[:1] * 4
    one, other, ring = (load_tensors(checkpoints(run / "checkpoints")[-1])[0] for run in runs)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    weights = [name for name in one if name.startswith("critic.") and name.endswith("weight")]
    assert any(not torch.equal(one[name], ring[name]) for name in weights)  # it was another way


def _one_dies(rank: int, folder: Path) -> None:
    try:
        with (
            mock.patch("caloforge.training.all_reduce.best_way", return_value=(2, 2)),
            join(_ranks(rank, 4), folder / "run") as group,
        ):
            network = _Deep()
            gradients = SummedGradients(network, group)
            for step in range(10_000):
                if rank == 3 and step == 20:
                    os.kill(os.getpid(), signal.SIGKILL)
                network(torch.ones(2)).backward()
                gradients.wait()
    except BaseException as error:  # noqa: BLE001
        (folder / f"{rank}.txt").write_text(f"{type(error).__name__}: {error}")


def test_a_worker_killed_amid_sums_is_named_and_the_others_end(tmp_path: Path) -> None:
    context = get_context("spawn")
    workers = [context.Process(target=_one_dies, args=(rank, tmp_path)) for rank in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, -signal.SIGKILL]
    said = [(tmp_path / f"{rank}.txt").read_text() for rank in range(3)]
    lines = [text for text in said if text.startswith("CaloforgeError: lost rank 3 of 4")]
    assert len(lines) == 1, said
    assert sum(text == "SystemExit: 1" for text in said) == 2, said
