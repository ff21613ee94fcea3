"""Start the processes of one command on this node: each on cores of its own, none left behind.

Cores come from ``/sys/devices/system``, those that this process may use. They are shared out evenly in
the order of the NUMA domains, so that a process stays within one domain wherever the numbers allow it;
the threads of a core stay together.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.ranks import ALONE, Ranks

__all__ = ["ProcessFailedError", "Topology", "environments", "run_all"]

SYSTEM = Path("/sys/devices/system")

PATIENCE_S = 30.0
"""After one process failed the others have this time to write what they hold, as with torchrun."""

LOOK_EVERY_S = 0.05

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

# Runs before the command in the same process: binds it, and lets it end when its parent ends.
START = """
import ctypes, os, sys
parent, cpus, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() != int(parent):
    sys.exit(1)
os.sched_setaffinity(0, map(int, cpus.split(",")))
os.execvp(command[0], command)
"""

Core = tuple[int, ...]
"""The logical processors of one core: hardware threads."""


class ProcessFailedError(CaloforgeError):
    """One of the processes failed; ``exit_code`` is its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Topology:
    """The cores of a node by NUMA domain."""

    domains: tuple[tuple[Core, ...], ...]

    @classmethod
    def read(cls, allowed: set[int] | None = None, system: Path = SYSTEM) -> Topology:
        """Read it from Linux; only processors that are ``allowed`` (default: to this process) count."""
        allowed = os.sched_getaffinity(0) if allowed is None else allowed
        cores = {
            tuple(sorted(_numbers(system / f"cpu/cpu{cpu}/topology/thread_siblings_list") & allowed))
            or (cpu,)
            for cpu in allowed
        }
        nodes = sorted(system.glob("node/node[0-9]*"), key=lambda path: int(path.name[4:]))
        node_of = {cpu: i for i, node in enumerate(nodes) for cpu in _numbers(node / "cpulist")}
        domains: dict[int, list[Core]] = {}
        for core in sorted(cores):
            domains.setdefault(node_of.get(core[0], -1), []).append(core)
        return cls(tuple(tuple(domains[node]) for node in sorted(domains)))

    @property
    def cores(self) -> list[Core]:
        """All cores, domain after domain."""
        return [core for domain in self.domains for core in domain]

    def shares(self, n: int) -> list[list[Core]]:
        """Share the cores out to ``n`` processes; more processes than cores share some."""
        cores = self.cores
        if n > len(cores):
            return [[cores[i * len(cores) // n]] for i in range(n)]
        return [cores[i * len(cores) // n : (i + 1) * len(cores) // n] for i in range(n)]


def _numbers(path: Path) -> set[int]:
    """Read a list such as ``0-3,8``; a file that is missing is empty."""
    try:
        parts = path.read_text(encoding="ascii").strip().split(",")
    except OSError:
        return set()
    ends = [part.split("-") for part in parts if part]
    return {number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)}


def environments(
    shares: Sequence[Sequence[Core]], outer: Ranks = ALONE, given: Mapping[str, str] = os.environ
) -> list[dict[str, str]]:
    """Return each process its place among all, in torchrun's variables, and threads for its cores.

    ``outer`` is this process's own place where a launcher started one on each node. An
    OMP_NUM_THREADS that is set already stays.
    """
    n = len(shares)
    # Those of an outer torchrun would be its meeting point, not ours.
    kept = {k: v for k, v in given.items() if k not in ("MASTER_ADDR", "MASTER_PORT")}
    job = {"TORCHELASTIC_RUN_ID": outer.job} if outer.job else {}
    return [
        {
            "OMP_NUM_THREADS": str(len(share)),
            **kept,
            **job,
            "RANK": str(outer.rank * n + i),
            "WORLD_SIZE": str(outer.world * n),
            "LOCAL_RANK": str(i),
            "LOCAL_WORLD_SIZE": str(n),
        }
        for i, share in enumerate(shares)
    ]


def run_all(command: Sequence[str], nproc: int, outer: Ranks = ALONE) -> None:
    """Run ``nproc`` processes of a command, each bound to its share of the cores, until all are done.

    Signals are handed on. When one fails the others are asked to end, and killed after PATIENCE_S.
    Raises ProcessFailedError naming the first that failed, with its exit code (128 + signal if killed).
    """
    if nproc < 1:
        raise UsageError(f"--nproc: expected at least 1, got {nproc}")
    shares = Topology.read().shares(nproc)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        with _forwarded(processes) as received:
            for share, environment in zip(shares, environments(shares, outer), strict=True):
                cpus = ",".join(str(cpu) for core in share for cpu in core)
                start = [sys.executable, "-I", "-S", "-c", START, str(os.getpid()), cpus, *command]
                processes.append(
                    subprocess.Popen(  # noqa: S603 (the user's own command)
                        start,
                        stdin=subprocess.DEVNULL,
                        env=environment,
                        process_group=0,  # a terminal's Ctrl-C reaches this process, which hands it on
                    )
                )
            failed = _first_failure(processes)
            if failed is None:
                return
            _end(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    code = processes[failed].returncode
    how = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.Signals(-code).name}"
    rank = outer.rank * nproc + failed
    end = "after " + ", ".join(sorted(s.name for s in received)) if received else "the others were ended"
    raise ProcessFailedError(
        f"rank {rank} of {outer.world * nproc} failed ({how}); {end}", code if code >= 0 else 128 - code
    )


@contextmanager
def _forwarded(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[set[signal.Signals]]:
    """Hand signals on to the processes instead of dying; give those that came."""
    received: set[signal.Signals] = set()

    def forward(number: int, _: FrameType | None) -> None:
        received.add(signal.Signals(number))
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until one has failed, whose number it gives, or all are done."""
    while True:
        codes = [process.poll() for process in processes]
        failed = next((i for i, code in enumerate(codes) if code), None)
        if failed is not None or None not in codes:
            return failed
        time.sleep(LOOK_EVERY_S)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask those that still run to end, and wait for a while."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    end = time.monotonic() + PATIENCE_S
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)
