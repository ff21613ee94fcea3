"""Start processes that end with this one, on cores of their own where that is wanted."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

from caloforge.foundations.cores import Core, Topology
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.foundations.signals import STOP_SIGNALS, handled

__all__ = ["ProcessFailedError", "deaf", "end_with", "environments", "how_it_ended", "run_all", "start"]

PATIENCE_S = 30.0
"""After one process failed the others have this time to write what they hold, as with torchrun."""

LOOK_EVERY_S = 0.05

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

PR_SET_PDEATHSIG = 1

# Runs before the command in the same process, without this package: it starts in 10 ms.
START = """
import ctypes, os, sys
parent, number, cpus, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, int(number))  # PR_SET_PDEATHSIG
if os.getppid() != int(parent):
    sys.exit(1)
if cpus:
    os.sched_setaffinity(0, map(int, cpus.split(",")))
os.execvp(command[0], command)
"""


def start(
    command: Sequence[str], *, cores: Sequence[Sequence[int]] = (), unheard: bool = False, **options: Any
) -> subprocess.Popen[Any]:
    """Start a command that ends with this process, bound to ``cores``; ``options`` are those of ``Popen``.

    It gets a SIGTERM when this process ends, however that ends. ``unheard``: it holds nothing that could be lost, so
    it is killed then, and Ctrl-C or a SIGTERM to the whole group are left to this process.
    """
    number = signal.SIGKILL if unheard else signal.SIGTERM
    cpus = ",".join(str(cpu) for core in cores for cpu in core)
    first = [sys.executable, "-I", "-S", "-c", START, str(os.getpid()), str(int(number)), cpus]
    with deaf(*STOP_SIGNALS) if unheard else nullcontext():
        return subprocess.Popen([*first, *command], **{"stdin": subprocess.DEVNULL, **options})  # noqa: S603


@contextmanager
def deaf(*numbers: signal.Signals) -> Iterator[None]:
    """Start processes that do not hear these signals: one that is blocked stays so in a child."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(parent: int) -> None:
    """Let Linux kill this process when its parent, the process of this id, ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def how_it_ended(code: int) -> str:
    """Say in words how a process ended that has this return code."""
    return f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.Signals(-code).name}"


class ProcessFailedError(CaloforgeError):
    """One of the processes failed; ``exit_code`` is its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
                # In a group of its own: a terminal's Ctrl-C reaches this process, which hands it on.
                processes.append(start(command, cores=share, env=environment, process_group=0))
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
    rank = outer.rank * nproc + failed
    end = "after " + ", ".join(sorted(s.name for s in received)) if received else "the others were ended"
    raise ProcessFailedError(
        f"rank {rank} of {outer.world * nproc} failed ({how_it_ended(code)}); {end}",
        code if code >= 0 else 128 - code,
    )


@contextmanager
def _forwarded(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[set[signal.Signals]]:
    """Hand signals on to the processes instead of dying; yield those that came."""
    received: set[signal.Signals] = set()

    def forward(number: int, _: FrameType | None) -> None:
        received.add(signal.Signals(number))
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    with handled(FORWARDED, forward):
        yield received


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Wait until one has failed and return its number, or None when all are done."""
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
