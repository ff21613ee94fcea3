"""ThreadPool: worker threads that make batches side by side, each on cores of its own.

Threads and not processes: torch, the engines, numpy's generators and the compression let go of Python's
lock while they compute, so that nothing need be copied between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from caloforge.foundations.cores import Topology
from caloforge.foundations.ranks import ALONE, Ranks

__all__ = ["ThreadPool"]

Item = TypeVar("Item")
Made = TypeVar("Made")


class ThreadPool:
    """So many threads, by default one a core that torch may use (OMP_NUM_THREADS, or all).

    These cores are shared out evenly: each computes with ``threads`` of them, at least one. A pool of one
    works in the caller's thread. Where a launcher starts several ranks on a node without binding them, each takes
    its share.
    """

    def __init__(self, count: int | None = None, ranks: Ranks = ALONE) -> None:
        cores = torch.get_num_threads()
        self.count = count or cores
        self.threads = max(1, cores // self.count)
        self._ranks = ranks

    def map(self, make: Callable[[Item], Made], work: Iterable[Item]) -> Generator[Made, None, None]:
        """Yield what ``make`` returns for each item, in order; only a few are made ahead.

        Close the iterator if it is not read to its end.
        """
        if self.count == 1:
            yield from map(make, work)
            return
        before = torch.get_num_threads()
        processors = deque(self._processors())
        waiting: deque[Future[Made]] = deque()
        with ThreadPoolExecutor(
            self.count, "batches", lambda: self._settle(processors.popleft())
        ) as pool:
            try:
                for item in work:
                    waiting.append(pool.submit(make, item))
                    if len(waiting) > 2 * self.count:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
                torch.set_num_threads(before)  # MKL has one number for all threads

    def _processors(self) -> list[set[int]]:
        """Return the logical processors of each thread."""
        topology, ranks = Topology.read(), self._ranks
        bound = len(os.sched_getaffinity(0)) < (os.cpu_count() or 1)
        n, first = self.count, 0
        if ranks.local_world > 1 and not bound:
            n, first = self.count * ranks.local_world, self.count * ranks.local_rank
        shares = topology.shares(n)[first : first + self.count]
        return [{cpu for core in share for cpu in core} for share in shares]

    def _settle(self, processors: set[int]) -> None:
        os.sched_setaffinity(0, processors)  # 0: this thread alone
        torch.set_num_threads(self.threads)
