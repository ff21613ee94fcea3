"""Sums over all workers, made in the background the way :mod:`caloforge.training.grids` finds best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.distributed as dist
from torch import Tensor

from caloforge.foundations.ranks import Ranks
from caloforge.training.grids import best_way

__all__ = ["AllReduce", "Grid"]


class Grid:
    """Workers arranged in a grid, as one of them sees it; all of them must make it together.

    Rank r stands where r is in an array of these ``sides`` (the last direction has consecutive ranks).
    """

    def __init__(self, sides: tuple[int, ...], rank: int) -> None:
        self.workers = math.prod(sides)
        self._rank = rank
        self._lines: list[tuple[list[int], dist.ProcessGroup]] = []
        ranks = torch.arange(self.workers).view(sides)
        for direction, n in reversed([*enumerate(sides)]):
            lines = ranks.movedim(direction, -1).reshape(-1, n)
            mine = lines[(lines == rank).any(1)][0].tolist()
            # Only its members make a group. torch names it by them and by how many groups they are in:
            # that is the same for all, as each worker makes one in each direction.
            group = dist.new_group(mine, backend="gloo", use_local_synchronization=True)
            assert isinstance(group, dist.ProcessGroup)
            self._lines.append((mine, group))

    def add_up(self, flat_N: Tensor) -> None:
        """Replace a vector, of a multiple of ``workers`` numbers, by its sum over the workers.

        Each number is added up by one worker, in the order of ranks: all get the same bits, in every run.
        """
        self._add_up(flat_N, 0)

    def _add_up(self, flat_N: Tensor, depth: int) -> None:
        if depth == len(self._lines):
            return
        members, group = self._lines[depth]
        parts_KM = flat_N.view(len(members), -1)
        shares_KM = torch.empty_like(parts_KM)
        self._exchange(members, group, [*parts_KM], shares_KM)
        share_M = shares_KM.sum(0)
        self._add_up(share_M, depth + 1)
        self._exchange(members, group, [share_M] * len(members), parts_KM)

    def _exchange(
        self,
        members: Sequence[int],
        group: dist.ProcessGroup,
        sent: Sequence[Tensor],
        received_KM: Tensor,
    ) -> None:
        """Send each member its part, and receive one of each.

        Receiving begins first. It tells the other that it may send, in the same stream in which our part
        goes to it: behind that part (as in gloo's all-to-all) the two directions would take turns.
        """
        here = members.index(self._rank)
        received_KM[here] = sent[here]
        others = [*range(here + 1, len(members)), *range(here)]
        works = [dist.irecv(received_KM[i], members[i], group) for i in others]
        works += [dist.isend(sent[i], members[i], group) for i in others]
        for work in works:
            assert work is not None
            work.wait()


class AllReduce:
    """Starts sums over all workers; these must make it, ask it, and start sums in the same order.

    Ranks are expected to count through the nodes, and nodes to have equally many; where they do not, each
    worker is treated as a node.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._rank = ranks.rank
        per_node = ranks.local_world
        regular = ranks.rank % per_node == ranks.local_rank and ranks.world % per_node == 0
        least = torch.tensor([per_node, -per_node, int(regular)])
        dist.all_reduce(least, dist.ReduceOp.MIN)
        low, high, all_regular = least.tolist()
        per_node = per_node if all_regular and low == -high else 1
        self._nodes, self._per_node = ranks.world // per_node, per_node
        self._grids: dict[tuple[int, ...], Grid] = {}
        # One after the other: an exchange is known only by its turn in its group.
        self._thread = ThreadPoolExecutor(1, "caloforge-sums")
        self._last: Future[None] | None = None

    def grid(self, size_bytes: int, device: torch.device) -> Grid | None:
        """Return the grid for messages of this size; None where the backend's own way is best.

        NCCL knows its network better than we do.
        """
        way = best_way(self._nodes, self._per_node, size_bytes)
        if device.type != "cpu" or isinstance(way, int):
            return None
        if way not in self._grids:
            self._grids[way] = Grid(way, self._rank)
        return self._grids[way]

    def start(self, flat_N: Tensor, grid: Grid | None) -> Callable[[], object]:
        """Begin to replace a vector by its sum over the workers; give the function that waits for it."""
        if grid is None:
            work = dist.all_reduce(flat_N, async_op=True)
            assert work is not None
            wait: Callable[[], object] = work.wait
            return wait
        self._last = self._thread.submit(_add_up, grid, flat_N, self._last)
        return self._last.result


def _add_up(grid: Grid, flat_N: Tensor, before: Future[None] | None) -> None:
    if before is not None:
        before.result()  # after a lost connection nobody waits for a worker that has given up
    grid.add_up(flat_N)
