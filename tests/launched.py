"""Trainings of several processes, as torchrun, mpirun and srun start them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROGRAM = ("-m", "caloforge")


def torchrun(world: int, *arguments: object, restarts: int = 0) -> subprocess.Popen[str]:
    """Start a command as torchrun does."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    options = ("--nproc-per-node", world, "--max-restarts", restarts)
    return _start([*launcher, *options, *PROGRAM, *arguments])


def mpirun(world: int, *arguments: object) -> subprocess.Popen[str]:
    """Start a command as Open MPI does, from the same environment as this Python."""
    launcher = (Path(sys.executable).with_name("mpirun"), "--allow-run-as-root", "--oversubscribe")
    return _start([*launcher, "-np", world, sys.executable, *PROGRAM, *arguments])


def srun(world: int, *arguments: object, job: str = "7") -> list[subprocess.Popen[str]]:
    """Start a command's processes with the variables that srun sets."""
    return [
        _start(
            [sys.executable, *PROGRAM, *arguments],
            SLURM_PROCID=rank,
            SLURM_NTASKS=world,
            SLURM_LOCALID=rank,
            SLURM_STEP_TASKS_PER_NODE=world,
            SLURM_JOB_ID=job,
            SLURM_STEP_ID=0,
        )
        for rank in range(world)
    ]


def rank_processes(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """Find the process ids of torchrun's workers by rank."""
    found = {}
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        rank = next((v.partition(b"=")[2] for v in variables if v.startswith(b"RANK=")), None)
        if rank is not None:
            found[int(rank)] = int(child)
    return found


def _start(command: Sequence[object], **variables: object) -> subprocess.Popen[str]:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
