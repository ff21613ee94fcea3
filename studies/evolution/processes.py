"""Processes that help this one, as long as it lives."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

from caloforge.foundations.processes import start

__all__ = ["helped_by"]

CALL = """
import pickle, sys
from contextlib import suppress
sys.path[:] = pickle.load(sys.stdin.buffer)
from caloforge.foundations.errors import CaloforgeError
work, arguments = pickle.load(sys.stdin.buffer)
with suppress(CaloforgeError):  # which the other process meets too, and tells
    work(*arguments)
"""


@contextmanager
def helped_by(count: int, work: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Let processes of one thread call ``work(*arguments)`` meanwhile.

    They end with the block, or with this process, whatever they have begun.
    """
    message = pickle.dumps(sys.path) + pickle.dumps((work, arguments))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes: list[Popen[bytes]] = []
    try:
        for _ in range(count):
            process = start([sys.executable, "-c", CALL], unheard=True, stdin=PIPE, env=environment)
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(message)
            process.stdin.close()
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
