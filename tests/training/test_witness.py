"""A worker that ends while the store does not answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import PATIENCE_S

pytestmark = pytest.mark.process

STORE = """
import time
from datetime import timedelta
from torch.distributed import TCPStore
store = TCPStore("localhost", 0, 2, True, timedelta(seconds=600), wait_for_workers=False)
print(store.port, flush=True)
time.sleep(600)
"""

WORKER = """
import os, signal, sys, time
from dataclasses import replace
from datetime import timedelta
from torch.distributed import TCPStore
from caloforge.foundations.ranks import ALONE
from caloforge.training.witness import BEAT_S, Witness
port, pid = map(int, sys.argv[1:])
store = TCPStore("localhost", port, 2, False, timedelta(seconds=600))
with Witness(replace(ALONE, rank=1, world=2), store).alive():
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5 * BEAT_S)
print("left", flush=True)
"""


def test_a_worker_ends_well_while_its_thread_waits_for_the_store() -> None:
    python = [sys.executable, "-c"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*python, STORE], **pipes) as store:  # type: ignore[call-overload]
        try:
            port = store.stdout.readline().strip()
            command = [*python, WORKER, port, str(store.pid)]
            with subprocess.Popen(command, **pipes) as worker:  # type: ignore[call-overload]
                assert worker.stdout.readline() == "left\n"
                time.sleep(1)  # now Python is at its end, but for the thread
                os.kill(store.pid, signal.SIGCONT)
                _, complaint = worker.communicate(timeout=PATIENCE_S)
                assert (worker.returncode, complaint) == (0, "")
        finally:
            store.kill()
