"""Sums over the workers of many nodes under gloo: within each node first, then between the nodes.

gloo's all_reduce goes round one ring of all workers, so its latency grows with their number (docs/scaling.md).
Here the first worker of each node gets the node's sum, these add up among themselves, and each tells its
node. From :data:`MANY_NODES` nodes on they stand in rows and columns, and add up along one, then the
other: as many latencies as the two sides together have nodes, for twice the bytes. All steps are
torch's own collectives; other backends know their network themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from caloforge.foundations.ranks import Ranks

__all__ = ["ProcessMesh", "mesh_shape"]

MANY_NODES = 16
"""Below, one ring of nodes is as fast as rows and columns."""


def mesh_shape(nodes: int, per_node: int) -> tuple[int, int, int]:
    """Return rows and columns of nodes, as square as their number allows if they are many, and workers a node."""
    largest = math.isqrt(nodes) if nodes >= MANY_NODES else 1
    rows = next(n for n in range(largest, 0, -1) if nodes % n == 0)
    return rows, nodes // rows, per_node


class ProcessMesh:
    """Starts sums over all workers; these must make it, and start sums, in the same order."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        names = ("rows", "columns", "node")
        self._mesh: DeviceMesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        self._first = dist.get_global_rank(self._mesh.get_group("node"), 0)
        # In one thread, since collectives of a group are told apart by their order alone.
        self._thread = ThreadPoolExecutor(1, "caloforge-sums")
        self._last: Future[None] | None = None

    @classmethod
    def of(cls, ranks: Ranks) -> ProcessMesh | None:
        """Arrange the workers; None where one ring of all is as good.

        Ranks are expected to count through the nodes, and nodes to have equally many; where they do not,
        each worker is taken for a node.
        """
        per_node = ranks.local_world
        regular = ranks.rank % per_node == ranks.local_rank and ranks.world % per_node == 0
        least = torch.tensor([per_node, -per_node, int(regular)])
        dist.all_reduce(least, dist.ReduceOp.MIN)
        low, high, all_regular = least.tolist()
        per_node = per_node if all_regular and low == -high else 1
        shape = mesh_shape(ranks.world // per_node, per_node)
        return cls(shape) if sum(side > 1 for side in shape) > 1 else None

    def close(self) -> None:
        """Let go of the groups: the last reference closes their connections, which others notice."""
        del self._mesh

    def start(self, tensor: Tensor) -> Callable[[], object]:
        """Begin to replace a tensor by its sum over the workers; return the function that waits for it."""
        self._last = self._thread.submit(self._add_up, tensor, self._last)
        return self._last.result

    def _add_up(self, tensor: Tensor, before: Future[None] | None) -> None:
        if before is not None:
            before.result()  # after a lost connection nobody waits for a worker that has given up
        node = self._mesh.get_group("node")
        dist.reduce(tensor, self._first, group=node)
        if dist.get_rank() == self._first:
            for side in ("columns", "rows"):
                dist.all_reduce(tensor, group=self._mesh.get_group(side))
        dist.broadcast(tensor, self._first, group=node)
