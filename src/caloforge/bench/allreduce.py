"""How long gloo's all-reduce takes between processes, on hosts of an emulated network or on this one.

``python -m caloforge.bench.allreduce RANK HOSTS ADDRESS`` is one of those processes: each line
``SHAPE BYTES REPEATS`` on stdin makes the first ranks reduce so many bytes so often; rank 0 then prints
the seconds of each time, as JSON. SHAPE is ``4`` for one all-reduce of 4 ranks, ``2x2`` for one along
each direction of such a grid.
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
from typing import Protocol

import torch
import torch.distributed as dist

from caloforge.errors import CaloforgeError

__all__ = ["AllReduce", "Hosts", "ThisHost", "allreduce_processes"]

PORT = 29512
FLOAT_BYTES = 4
TIMEOUT = timedelta(seconds=120)

AllReduce = Callable[[tuple[int, ...], int, int], list[float]]
"""(shape, bytes, repeats) to the seconds of each all-reduce; they follow each other at once."""


class Hosts(Protocol):
    """Where processes may stand: :class:`caloforge.bench.emulation.EmulatedHosts`, :class:`ThisHost`."""

    def __len__(self) -> int:
        """Count the processes that may stand there."""

    def address(self, host: int) -> str:
        """Give the host's IPv4 address."""

    def inside(self, host: int, command: list[str]) -> list[str]:
        """Give the command that runs ``command`` on that host."""

    def interface(self, host: int) -> str:
        """Give the name of the host's network interface."""


@dataclass(frozen=True)
class ThisHost:
    """Several processes on this host, through its loopback interface."""

    processes: int

    def __len__(self) -> int:
        """Count the processes."""
        return self.processes

    def address(self, host: int) -> str:  # noqa: ARG002
        """Give the loopback address."""
        return "127.0.0.1"

    def inside(self, host: int, command: list[str]) -> list[str]:  # noqa: ARG002
        """Give the command as it is."""
        return command

    def interface(self, host: int) -> str:  # noqa: ARG002
        """Name the loopback interface."""
        return "lo"


@contextmanager
def allreduce_processes(hosts: Hosts) -> Iterator[AllReduce]:
    """Start a process on each host; give the function that has them reduce, by the first hosts."""
    # Without the log level it warns of every address that has no name.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    processes = []
    try:
        for rank in range(len(hosts)):
            command = [sys.executable, "-m", __name__, str(rank), str(len(hosts)), hosts.address(0)]
            processes.append(
                subprocess.Popen(  # noqa: S603 (nothing here comes from outside)
                    hosts.inside(rank, command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**environment, "GLOO_SOCKET_IFNAME": hosts.interface(rank)},
                    text=True,
                )
            )
        first = processes[0].stdout
        assert first is not None

        def reduce(shape: tuple[int, ...], size_bytes: int, repeats: int) -> list[float]:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{'x'.join(map(str, shape))} {size_bytes} {repeats}\n")
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
    known: dict[tuple[int, ...], list[dist.ProcessGroup]] = {}
    for line in sys.stdin:
        text, size_bytes, repeats = line.split()
        shape = tuple(map(int, text.split("x")))
        if shape not in known:  # all ranks read the same lines: they make groups in the same order
            known[shape] = _groups(shape, rank)
        if rank >= math.prod(shape):
            continue
        data = torch.zeros(int(size_bytes) // FLOAT_BYTES)
        times = []
        for _ in range(1 + int(repeats)):  # the first one starts all at once
            started = time.perf_counter()
            for group in known[shape]:
                dist.all_reduce(data, group=group)
            times.append(time.perf_counter() - started)
        if rank == 0:
            sys.stdout.write(json.dumps(times[1:]) + "\n")
            sys.stdout.flush()


def _groups(shape: tuple[int, ...], rank: int) -> list[dist.ProcessGroup]:
    """Make the groups along each direction of a grid of ranks; give those that this rank is in."""
    mine = []
    grid = torch.arange(math.prod(shape)).reshape(shape)
    for direction, n in enumerate(shape):
        for members in grid.movedim(direction, -1).reshape(-1, n).tolist():
            group = dist.new_group(members)
            if rank in members:
                mine.append(group)
    return mine


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
