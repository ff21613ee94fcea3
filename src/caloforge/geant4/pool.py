"""Worker processes: started together, fed one shower at a time, never left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, Self

from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.processes import how_it_ended, start
from caloforge.geant4.physics_data import PhysicsData
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.worker import Introduction, SimulatedShower, serve

__all__ = ["WorkerPool"]

AHEAD = 2
"""Showers a worker has in hand: the next one waits when one is done."""

PATIENCE_S = 1.0


class WorkerPool:
    """Geant4 processes for one request. A context manager; leaving it ends them all at once.

    Processes, since Geant4 is one per process; started with ``subprocess``, since
    ``multiprocessing`` would run the user's script again. What Geant4 prints goes to a temporary
    file, read only to say why a worker died.

    Raises UsageError for a material that Geant4 does not know, CaloforgeError if a worker dies.
    """

    def __init__(self, workers: int, request: SimulationRequest, data: PhysicsData) -> None:
        self._request, self._data = request, data
        self._size = workers
        self._workers: dict[Connection, _Worker] = {}
        self.introduction: Introduction

    def __enter__(self) -> Self:
        try:
            for number in range(self._size):
                worker = _Worker(number, self._data)
                self._workers[worker.connection] = worker
                worker.send((self._request, self._data.computed))
            for worker in self._workers.values():
                self.introduction = worker.receive()
        except BaseException:
            self.close()
            raise
        return self

    def showers(self, indices: Iterable[int]) -> Iterator[SimulatedShower]:
        """Simulate the showers with these numbers; they come in the order in which they finish."""
        waiting = iter(indices)
        in_hand = dict.fromkeys(self._workers, 0)
        for connection in [*self._workers] * AHEAD:
            self._hand(waiting, connection, in_hand)
        while any(in_hand.values()):
            ready = wait([connection for connection, n in in_hand.items() if n])
            for connection in (c for c in in_hand if c in ready):
                shower: SimulatedShower = self._workers[connection].receive()
                in_hand[connection] -= 1
                self._hand(waiting, connection, in_hand)
                yield shower

    def _hand(
        self, waiting: Iterator[int], connection: Connection, in_hand: dict[Connection, int]
    ) -> None:
        for index in waiting:
            self._workers[connection].send(index)
            in_hand[connection] += 1
            break

    def close(self) -> None:
        """End the workers: idle ones at once, those in the middle of a shower after a second."""
        for connection in self._workers:
            connection.close()
        end = time.monotonic() + PATIENCE_S
        for worker in self._workers.values():
            worker.end(end - time.monotonic())
        self._workers.clear()

    def __exit__(self, *error: object) -> None:
        self.close()


class _Worker:
    def __init__(self, number: int, data: PhysicsData) -> None:
        self._number = number
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in end)
        self.connection, theirs = Pipe()
        # Not "-m": what a __main__ module defines cannot be unpickled elsewhere. "-P": the user's
        # folder is not searched for modules.
        code = f"from {serve.__module__} import serve; serve({theirs.fileno()})"
        with theirs:
            self._process = start(
                [sys.executable, "-P", "-c", code],
                unheard=True,
                stdout=self._log,
                stderr=self._log,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **data.environment},
            )

    def send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except OSError:
            raise self._died() from None

    def receive(self) -> Any:
        """Return what it sends next. Raises UsageError for an error's text."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(message, str):
            raise UsageError(message)
        return message

    def _died(self) -> CaloforgeError:
        how = how_it_ended(self._process.wait())
        self._log.seek(0)
        return CaloforgeError(f"Geant4 worker {self._number} died ({how}){_reason(self._log.read())}")

    def end(self, patience_s: float) -> None:
        try:
            self._process.wait(max(0, patience_s))
        except subprocess.TimeoutExpired:
            self._process.kill()  # it holds nothing that could be lost
            self._process.wait()
        self._log.close()


def _reason(log: bytes) -> str:
    """Find in a worker's output why it died: Geant4's last complaint, or Python's."""
    text = log.decode(errors="replace")
    complaints = re.findall(r"G4Exception : (\S+)\s+issued by : (.*?)\n(.*?)\n", text)
    if complaints:
        return f": {complaints[-1][0]} {complaints[-1][2].strip()}"
    if "Traceback" in text:
        return f": {text.strip().splitlines()[-1]}"
    return ""
