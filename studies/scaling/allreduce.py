"""How long a sum takes between processes, on hosts of an emulated network or on this one.

``python -m studies.scaling.allreduce`` starts them: the first line on stdin is a JSON list with a place for each
rank, its network namespace (empty: that of this process), network interface and the first rank's
address. One process loads torch and forks the ranks, so that a hundred of them fit into a small machine. Each
further line, ``WAY BYTES REPEATS``, makes the ranks add up so many bytes so often; rank 0 then prints the
seconds of each time, as JSON. WAY is ``4`` for gloo's own all_reduce by the first 4 ranks, ``1x2x2`` for the mesh of
all ranks that training makes (rows, columns, workers a node).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

import torch
import torch.distributed as dist
from torch import Tensor

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.processes import end_with, start
from caloforge.training.process_mesh import ProcessMesh
from studies.scaling.calibration import Way

__all__ = ["AllReduce", "Hosts", "ThisHost", "allreduce_processes", "way_text"]

PORT = 29512
FLOAT_BYTES = 4
TIMEOUT = timedelta(minutes=10)
CLONE_NEWNET = 0x40000000

AllReduce = Callable[[Way, int, int], list[float]]
"""(way, bytes, repeats) to the seconds of each sum; they follow each other at once."""


class Hosts(Protocol):
    """Where processes may stand: :class:`studies.scaling.emulation.EmulatedHosts`, :class:`ThisHost`."""

    def __len__(self) -> int:
        """Count the hosts."""

    def address(self, host: int) -> str:
        """Return the host's IPv4 address."""

    def namespace(self, host: int) -> str:
        """Return the name of the host's network namespace, empty for that of this process."""

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

    def namespace(self, host: int) -> str:  # noqa: ARG002
        """Name no namespace."""
        return ""

    def interface(self, host: int) -> str:  # noqa: ARG002
        """Name the loopback interface."""
        return "lo"


def way_text(way: Way) -> str:
    """Return a way as a rank understands it, ``4`` or ``1x2x2``."""
    return str(way) if isinstance(way, int) else "x".join(map(str, way))


@contextmanager
def allreduce_processes(hosts: Hosts, per_host: int = 1) -> Iterator[AllReduce]:
    """Start processes on each host; yield the function that has them add up."""
    places = [
        (hosts.namespace(host), hosts.interface(host), hosts.address(0))
        for host in range(len(hosts))
        for _ in range(per_host)
    ]
    process = start(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Without the log level it warns of every address that has no name. Connections are made when needed.
        env={
            **os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "TORCH_GLOO_LAZY_INIT": "1",
        },
        text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    answers, orders = process.stdout, process.stdin

    def reduce(way: Way, size_bytes: int, repeats: int) -> list[float]:
        orders.write(f"{way_text(way)} {size_bytes} {repeats}\n")
        orders.flush()
        answer = answers.readline()
        if not answer:
            raise CaloforgeError("emulated hosts: a process that adds up ended, see above")
        times: list[float] = json.loads(answer)
        return times

    try:
        orders.write(json.dumps(places) + "\n")
        orders.flush()
        yield reduce
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its ranks too
        process.communicate()


def main() -> None:
    """Fork the ranks, and hand on to all of them what stdin says, until it ends."""
    places, parent = json.loads(sys.stdin.readline()), os.getpid()
    pipes: list[int] = []
    for rank, place in enumerate(places):
        reads, writes = os.pipe()
        if os.fork() == 0:
            end_with(parent)
            for pipe in (*pipes, writes):
                os.close(pipe)
            with os.fdopen(reads) as orders:
                be_rank(rank, len(places), place, orders)
            os._exit(0)
        os.close(reads)
        pipes.append(writes)
    for line in sys.stdin:
        for pipe in pipes:
            os.write(pipe, line.encode())


def be_rank(rank: int, world: int, place: tuple[str, str, str], orders: TextIO) -> None:
    """Add up with the others as the orders say, until these end."""
    namespace, interface, address = place
    if namespace:
        enter(namespace)
    os.environ["GLOO_SOCKET_IFNAME"] = interface
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://{address}:{PORT}", TIMEOUT, world, rank)
    known: dict[str, Callable[[Tensor], object]] = {}
    for line in orders:
        way, size_bytes, repeats = line.split()
        if way not in known:
            known[way] = _sum(way, rank)
        data = torch.zeros(int(size_bytes) // FLOAT_BYTES)
        times = []
        for _ in range(1 + int(repeats)):  # the first one starts all at once
            started = time.perf_counter()
            known[way](data)
            times.append(time.perf_counter() - started)
        if rank == 0:
            sys.stdout.write(json.dumps(times[1:]) + "\n")
            sys.stdout.flush()


def enter(namespace: str) -> None:
    """Move this process into a network namespace that ``ip netns`` made (os.setns needs Python 3.12)."""
    with Path("/run/netns", namespace).open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def _sum(way: str, rank: int) -> Callable[[Tensor], object]:
    sides = [int(side) for side in way.split("x")]
    if len(sides) == 1:
        group = dist.new_group([*range(sides[0])])
        return partial(dist.all_reduce, group=group) if rank < sides[0] else torch.clone
    rows, columns, per_node = sides
    mesh = ProcessMesh((rows, columns, per_node))
    return lambda data: mesh.start(data)()


if __name__ == "__main__":
    main()
