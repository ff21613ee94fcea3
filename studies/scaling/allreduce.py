"""How long gloo's all-reduce takes between processes, on hosts of an emulated network or on this one.

``python -m studies.scaling.allreduce RANK RANKS ADDRESS`` is one of those processes: each line
``WAY SIDES BYTES REPEATS`` on stdin makes the first ranks reduce so many bytes so often; rank 0 then prints
the seconds of each time, as JSON. WAY SIDES is ``ring 4`` for gloo's own of 4 ranks, ``grid 2x2`` for
exchanges along such a grid, as the training makes them.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

import torch
import torch.distributed as dist

from caloforge.foundations.errors import CaloforgeError
from caloforge.training.all_reduce import Grid
from caloforge.training.grids import Way

__all__ = ["AllReduce", "Hosts", "ThisHost", "allreduce_processes"]

PORT = 29512
FLOAT_BYTES = 4
TIMEOUT = timedelta(seconds=120)

AllReduce = Callable[[Way, int, int], list[float]]
"""(way, bytes, repeats) to the seconds of each all-reduce; they follow each other at once."""


class Hosts(Protocol):
    """Where processes may stand: :class:`studies.scaling.emulation.EmulatedHosts`, :class:`ThisHost`."""

    def __len__(self) -> int:
        """Count the processes that may stand there."""

    def address(self, host: int) -> str:
        """Return the host's IPv4 address."""

    def inside(self, host: int, command: list[str]) -> list[str]:
        """Return the command that runs ``command`` on that host."""

    def interface(self, host: int) -> str:
        """Return the name of the host's network interface."""


@dataclass(frozen=True)
class ThisHost:
    """Several processes on this host, through its loopback interface."""

    processes: int

    def __len__(self) -> int:
        """Count the processes."""
        return self.processes

    def address(self, host: int) -> str:  # noqa: ARG002
        """Return the loopback address."""
        return "127.0.0.1"

    def inside(self, host: int, command: list[str]) -> list[str]:  # noqa: ARG002
        """Return the command as it is."""
        return command

    def interface(self, host: int) -> str:  # noqa: ARG002
        """Name the loopback interface."""
        return "lo"


@contextmanager
def allreduce_processes(hosts: Hosts, per_host: int = 1) -> Iterator[AllReduce]:
    """Start processes on each host; give the function that has them reduce, by the first hosts."""
    # Without the log level it warns of every address that has no name.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    processes = []
    try:
        ranks = len(hosts) * per_host
        for rank in range(ranks):
            host = rank // per_host
            command = [sys.executable, "-m", __name__, str(rank), str(ranks), hosts.address(0)]
            processes.append(
                subprocess.Popen(  # noqa: S603 (nothing here comes from outside)
                    hosts.inside(host, command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**environment, "GLOO_SOCKET_IFNAME": hosts.interface(host)},
                    text=True,
                )
            )
        first = processes[0].stdout
        assert first is not None

        def reduce(way: Way, size_bytes: int, repeats: int) -> list[float]:
            text = f"ring {way}" if isinstance(way, int) else f"grid {'x'.join(map(str, way))}"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{text} {size_bytes} {repeats}\n")
                process.stdin.flush()
            answer = first.readline()
            if not answer:
                raise CaloforgeError("emulated hosts: a process of the all-reduce ended, see above")
            times: list[float] = json.loads(answer)
            return times

        yield reduce
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.communicate()


def main(rank: int, n: int, address: str) -> None:
    """Be one process: reduce as stdin says until it ends."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://{address}:{PORT}", TIMEOUT, n, rank)
    known: dict[tuple[str, ...], Callable[[torch.Tensor], object]] = {}
    for line in sys.stdin:
        way, text, size_bytes, repeats = line.split()
        sides = tuple(map(int, text.split("x")))
        ranks = math.prod(sides)
        if (way, text) not in known:
            if rank >= ranks:
                # torch names a group by its members and by how many they are in: all make as many.
                for _ in sides:
                    dist.new_group([rank], use_local_synchronization=True)
                known[way, text] = torch.clone
            else:
                known[way, text] = Grid(sides, rank).add_up if way == "grid" else _ring(ranks)
        if rank >= ranks:
            continue
        data = torch.zeros(int(size_bytes) // FLOAT_BYTES // ranks * ranks)
        times = []
        for _ in range(1 + int(repeats)):  # the first one starts all at once
            started = time.perf_counter()
            known[way, text](data)
            times.append(time.perf_counter() - started)
        if rank == 0:
            sys.stdout.write(json.dumps(times[1:]) + "\n")
            sys.stdout.flush()


def _ring(n: int) -> Callable[[torch.Tensor], object]:
    group = dist.new_group([*range(n)], use_local_synchronization=True)
    return partial(dist.all_reduce, group=group)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
