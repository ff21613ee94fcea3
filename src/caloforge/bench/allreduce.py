"""How long gloo's all-reduce takes between processes that stand on hosts of an emulated network.

``python -m caloforge.bench.allreduce RANK HOSTS ADDRESS`` is one of those processes: each line
``MEMBERS BYTES REPEATS`` on stdin makes the first MEMBERS ranks reduce so many bytes so often; rank 0
then prints the seconds of each time, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from caloforge.bench.emulation import EmulatedHosts
from caloforge.errors import CaloforgeError

__all__ = ["AllReduce", "allreduce_processes"]

PORT = 29512
FLOAT_BYTES = 4
TIMEOUT = timedelta(seconds=120)

AllReduce = Callable[[int, int, int], list[float]]
"""(processes, bytes, repeats) to the seconds of each all-reduce, the last two being back to back."""


@contextmanager
def allreduce_processes(hosts: EmulatedHosts) -> Iterator[AllReduce]:
    """Start a process on each host; give the function that has them reduce, by the first hosts."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
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

        def reduce(members: int, size_bytes: int, repeats: int) -> list[float]:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{members} {size_bytes} {repeats}\n")
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
    groups = {members: dist.new_group(list(range(members))) for members in range(2, n + 1)}
    for line in sys.stdin:
        members, size_bytes, repeats = map(int, line.split())
        if rank >= members:
            continue
        data = torch.zeros(size_bytes // FLOAT_BYTES)
        group = groups[members]
        dist.all_reduce(data, group=group)  # opens the connections, and starts all at once
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            dist.all_reduce(data, group=group)
            times.append(time.perf_counter() - started)
        if rank == 0:
            sys.stdout.write(json.dumps(times) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
