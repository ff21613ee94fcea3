"""Ranks on this machine that train together, one step at a time, as a benchmark asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.processes import start

__all__ = ["Times", "training_ranks"]

Times = list[dict[str, Any]]
"""The turns of one rank's step, as :mod:`caloforge.bench.step_worker` times them."""


@contextmanager
def training_ranks(
    n: int, seed: int, shares: Sequence[Sequence[Sequence[int]]] | None = None
) -> Iterator[Callable[[str], list[Times]]]:
    """Start ranks and yield the function that makes them take a step, and tells each one's times.

    Each has a thread for each core of its share, to which it is bound; without shares it has one
    thread, on any core.
    """
    with tempfile.TemporaryDirectory(prefix="caloforge-bench-") as folder:
        command = [sys.executable, "-m", "caloforge.bench.step_worker"]
        arguments = [str(n), str(Path(folder) / "store"), str(seed)]
        pipe = subprocess.PIPE
        processes = []
        for rank in range(n):
            share = shares[rank] if shares is not None else ()
            threads = str(max(1, len(share)))
            processes.append(
                start(
                    [*command, str(rank), *arguments],
                    cores=share,
                    env={**os.environ, "OMP_NUM_THREADS": threads, "GLOO_SOCKET_IFNAME": "lo"},
                    stdin=pipe,
                    stdout=pipe,
                    text=True,
                )
            )

        def step(order: str) -> list[Times]:
            answers = []
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(order + "\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    raise CaloforgeError("bench: a rank ended, its reason stands above")
                answers.append(json.loads(line))
            return answers

        try:
            yield step
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.communicate()
