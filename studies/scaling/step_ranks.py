"""Ranks on this machine that train together, one step at a time, as the study asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.processes import start

__all__ = ["Times", "training_ranks"]

Times = list[dict[str, Any]]
"""The turns of one rank's step, as :mod:`studies.scaling.step_worker` times them."""


@contextmanager
def training_ranks(n: int, seed: int) -> Iterator[Callable[[str], list[Times]]]:
    """Start ranks of one thread each; yield the function that makes them take a step, and tells each one's times."""
    with tempfile.TemporaryDirectory(prefix="caloforge-scaling-") as folder:
        command = [sys.executable, "-m", "studies.scaling.step_worker"]
        arguments = [str(n), str(Path(folder) / "store"), str(seed)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        pipe = subprocess.PIPE
        processes = [
            start([*command, str(rank), *arguments], env=environment, stdin=pipe, stdout=pipe, text=True)
            for rank in range(n)
        ]

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
                    raise CaloforgeError("scaling: a rank ended, its reason stands above")
                answers.append(json.loads(line))
            return answers

        try:
            yield step
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.communicate()
