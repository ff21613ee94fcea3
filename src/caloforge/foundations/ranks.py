"""Who is this process among those that one launcher started? Read from what it put in the environment."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from caloforge.foundations.errors import UsageError

__all__ = ["ALONE", "Ranks"]


@dataclass(frozen=True)
class Ranks:
    """The place of this process (0 to ``world`` - 1), and on its node (0 to ``local_world`` - 1).

    ``job`` is a text that all processes of a launch share, and those started again in their place;
    ``attempt`` counts these restarts. Without a launcher it is empty. ``one_node``: all are on this one, and
    the launcher said so.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    job: str = ""
    attempt: int = 0
    one_node: bool = field(default=True, compare=False)

    @property
    def leads(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """Read what torchrun, Open MPI, a PMI launcher (MPICH, Intel MPI) or srun says, in this order.

        Raises UsageError naming a variable that is missing or contradicts another.
        """
        for launcher in LAUNCHERS:
            if all(name in environment for name in (launcher.rank, *launcher.mark)):
                return launcher.read(environment)
        if _number(environment, "WORLD_SIZE", 1) > 1:
            text = f"WORLD_SIZE={environment['WORLD_SIZE']}"
            raise UsageError(f"environment variable {text}: expected RANK beside it, it is not set")
        return ALONE


ALONE = Ranks()
"""The one process of a command without a launcher."""


@dataclass(frozen=True)
class Launcher:
    """The names of a launcher's variables; several names: the first that is set."""

    rank: str
    world: tuple[str, ...]
    local_rank: tuple[str, ...]
    local_world: tuple[str, ...]
    job: tuple[str, ...]
    """All that are set are joined."""
    mark: tuple[str, ...] = ()
    """Without these ``rank`` does not count."""

    def read(self, environment: Mapping[str, str]) -> Ranks:
        """Read the variables. Raises UsageError naming one that cannot be."""
        total = _first(environment, self.world)
        if total not in environment:
            text = f"{self.rank}={environment[self.rank]}"
            raise UsageError(f"environment variable {text}: expected {total} beside it")
        rank, world = _number(environment, self.rank), _number(environment, total)
        if rank >= world:
            raise UsageError(
                f"environment variable {self.rank}={rank}: expected less than {total}={world}"
            )
        asked = _number(environment, "WORLD_SIZE", world)
        if asked != world:
            raise UsageError(f"environment variable WORLD_SIZE={asked}: contradicts {total}={world}")
        # One node, where nobody says more.
        local_rank = _number(environment, _first(environment, self.local_rank), rank)
        local_world = _number(environment, _first(environment, self.local_world), world)
        if local_rank >= local_world:
            name, limit = _first(environment, self.local_rank), _first(environment, self.local_world)
            raise UsageError(
                f"environment variable {name}={local_rank}: expected less than {limit}={local_world}"
            )
        texts = [environment.get(name, "none") for name in self.job]
        known = "-".join(text for text in texts if text != "none")
        restarts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
        return Ranks(
            rank,
            world,
            local_rank,
            local_world,
            known or f"{socket.gethostname()}-{os.getppid()}",
            sum(_number(environment, name, 0) for name in restarts),
            one_node=local_world == world and any(name in environment for name in self.local_world),
        )


LAUNCHERS = (
    Launcher(
        "RANK",
        ("WORLD_SIZE",),
        ("LOCAL_RANK",),
        ("LOCAL_WORLD_SIZE",),
        ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"),  # the first is "none" where nobody chose it
    ),
    Launcher(
        "OMPI_COMM_WORLD_RANK",
        ("OMPI_COMM_WORLD_SIZE",),
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        ("OMPI_COMM_WORLD_LOCAL_SIZE",),
        ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
    ),
    # Before SLURM: MPICH starts its daemons with srun, whose variables its processes inherit.
    Launcher(
        "PMI_RANK",
        ("PMI_SIZE",),
        ("MPI_LOCALRANKID", "SLURM_LOCALID"),
        ("MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"),
        ("PMI_JOBID", "SLURM_JOB_ID", "SLURM_STEP_ID", "PBS_JOBID", "LSB_JOBID"),
    ),
    # A batch script has a SLURM_PROCID of its own; only what srun starts is a step. The shell of salloc is one of
    # a single task, in which SLURM_NTASKS counts those that it may start.
    Launcher(
        "SLURM_PROCID",
        ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        ("SLURM_LOCALID",),
        ("SLURM_STEP_TASKS_PER_NODE",),
        ("SLURM_JOB_ID", "SLURM_STEP_ID"),
        mark=("SLURM_STEP_ID",),
    ),
)


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in environment), names[0])


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """Read a number; of SLURM's numbers for all nodes, such as ``4(x2),3``, the largest."""
    text = environment.get(name, str(default))
    parts = [re.fullmatch(r"(\d+)(\(x\d+\))?", part.strip()) for part in text.split(",")]
    numbers = [int(part[1]) for part in parts if part is not None]
    if len(numbers) < len(parts):
        raise UsageError(f"environment variable {name}={text}: expected a number, 0 or larger")
    return max(numbers)
