"""Sums by a mesh of real processes: the sum of a ring, the same bits for all, and for nobody a hang."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from commands import PATIENCE_S
from hypothesis import given
from hypothesis import strategies as st
from loaded import keep_stores_in, loaded
from torch import nn

from caloforge.files.tensors import load_tensors
from caloforge.foundations.ranks import Ranks
from caloforge.training.checkpoint import checkpoints
from caloforge.training.config import load_config
from caloforge.training.data_parallel import Group, join
from caloforge.training.gradients import BUCKET, SummedGradients
from caloforge.training.process_mesh import MANY_NODES, mesh_shape
from caloforge.training.trainer import train

pytestmark = pytest.mark.process

Together = Callable[..., list[Any]]


@given(st.integers(1, 600), st.integers(1, 8))
def test_many_nodes_stand_in_rows_and_columns(nodes: int, per_node: int) -> None:
    rows, columns, workers = mesh_shape(nodes, per_node)
    assert (rows * columns, workers) == (nodes, per_node)
    assert 1 <= rows <= columns
    assert nodes >= MANY_NODES or rows == 1
    assert mesh_shape(128, 4) == (8, 16, 4)
    assert mesh_shape(127, 4) == (1, 127, 4)


@pytest.fixture(scope="module")
def pool(shared_folder: Path) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(6, loaded(), keep_stores_in, (shared_folder,)) as processes:
        yield processes


@pytest.fixture
def together(pool: ProcessPoolExecutor, tmp_path: Path) -> Together:
    """Return a function that calls another in workers, so many on each of what they take for nodes."""

    def call(per_node: list[int], work: Callable[..., Any], *arguments: Any) -> list[Any]:
        futures = [
            pool.submit(_joined, ranks, tmp_path / "run", work, *arguments) for ranks in _ranks(per_node)
        ]
        return [future.result(timeout=PATIENCE_S) for future in futures]

    return call


def _ranks(per_node: list[int]) -> list[Ranks]:
    places = [(local_rank, n) for n in per_node for local_rank in range(n)]
    return [Ranks(rank, len(places), *place, "job") for rank, place in enumerate(places)]


def _joined(ranks: Ranks, meeting: Path, work: Callable[..., Any], *arguments: Any) -> Any:
    torch.set_num_threads(1)
    with mock.patch("caloforge.training.process_mesh.MANY_NODES", 4), join(ranks, meeting) as group:
        return work(group, *arguments)


def _shape(group: Group) -> Any:
    return None if group._mesh is None else tuple(group._mesh._mesh.shape)


def test_workers_are_arranged_by_their_nodes_if_these_are_alike(together: Together) -> None:
    assert together([2, 2, 2], _shape) == [(1, 3, 2)] * 6
    assert together([3, 3], _shape) == [(1, 2, 3)] * 6
    assert together([1] * 4, _shape) == [(2, 2, 1)] * 4
    assert together([4, 2], _shape) == [(2, 3, 1)] * 6
    assert together([1, 2], _shape) == [None] * 3
    assert together([4], _shape) == [None] * 4


def _sums(group: Group, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Add up by the mesh, again, and by the ring of all."""
    mine = torch.randn(601, generator=torch.Generator().manual_seed(group.rank)).to(dtype)
    once, again, ring = mine.clone(), mine.clone(), mine.float()
    waits = [group.start_sum(once), group.start_sum(again)]
    for wait in waits:
        wait()
    dist.all_reduce(ring)
    return once, again, ring


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("per_node", [[2, 2, 2], [3, 3], [1] * 6])
def test_a_mesh_adds_up_like_a_ring_and_all_get_the_same_bits(
    together: Together, per_node: list[int], dtype: torch.dtype
) -> None:
    results = together(per_node, _sums, dtype)
    first = results[0][0]
    assert first.dtype == dtype
    for once, again, _ in results:
        assert torch.equal(once, first)
        assert torch.equal(again, first)
    ring, digits = results[0][2], torch.finfo(dtype).eps
    assert (first - ring).abs().max() <= 3 * digits * ring.abs().max()
    assert ring.std() > 0.8 * math.sqrt(sum(per_node))


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
    events, start = list[str](), Group.start_sum

    def noted(self: Group, tensor: torch.Tensor) -> Callable[[], object]:
        events.append("sum")
        return start(self, tensor)

    with mock.patch.object(Group, "start_sum", noted):
        network(frozen(torch.ones(2) * (1 + group.rank))).backward()
        events.append("end of the pass")
        gradients.wait()
    assert not nothing._sent
    return [p.grad for p in network.parameters() if p.grad is not None], events


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("per_node", [[2, 2], [3, 3]])
def test_gradients_leave_while_the_pass_goes_on(
    together: Together, per_node: list[int], bf16: bool
) -> None:
    expected, _ = together([sum(per_node)], _gradients, False)[0]
    results = together(per_node, _gradients, bf16)
    for gradients, events in results:
        assert events == ["sum"] * 3 + ["end of the pass"]
        for mine, first, by_ring in zip(gradients, results[0][0], expected, strict=True):
            assert torch.equal(mine, first)
            limit = 1e-2 if bf16 else 1e-6
            assert (mine - by_ring).norm() <= limit * by_ring.norm() > 0


def _train(group: Group, data: Path, out: Path) -> Any:
    settings = [
        "model=3dgan",
        "batch_size=2",
        "check_showers=4",
        "checkpoint_every_steps=1",
        "max_steps=3",
    ]
    return train(load_config(settings=settings), [data], out, group=group)["best"]


def test_training_by_a_mesh_is_the_same_every_time(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    # At each checkpoint the workers compare their weights bit for bit.
    runs = [tmp_path / name for name in ("one", "other", "ring")]
    for run, per_node in zip(runs, ([2, 2], [2, 2], [4]), strict=True):
        results = together(per_node, _train, small_showers, run)
        assert results == results[:1] * 4
    one, other, ring = (load_tensors(checkpoints(run / "checkpoints")[-1])[0] for run in runs)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    weights = [name for name in one if name.startswith("critic.") and name.endswith("weight")]
    assert any(not torch.equal(one[name], ring[name]) for name in weights)  # it was another way


def _one_dies(ranks: Ranks, folder: Path) -> None:
    try:
        with join(ranks, folder / "run") as group:
            network = _Deep()
            gradients = SummedGradients(network, group)
            for step in range(10_000):
                if ranks.rank == 3 and step == 20:
                    os.kill(os.getpid(), signal.SIGKILL)
                network(torch.ones(2)).backward()
                gradients.wait()
    except BaseException as error:  # noqa: BLE001
        (folder / f"{ranks.rank}.txt").write_text(f"{type(error).__name__}: {error}")


def test_when_a_worker_is_killed_amid_sums_the_others_end_and_one_says_so(tmp_path: Path) -> None:
    context = loaded()
    workers = [context.Process(target=_one_dies, args=(r, tmp_path)) for r in _ranks([2, 2])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, -signal.SIGKILL]
    said = sorted((tmp_path / f"{rank}.txt").read_text() for rank in range(3))
    assert said[0].startswith("CaloforgeError: lost a worker")
    assert said[1:] == ["SystemExit: 1"] * 2
