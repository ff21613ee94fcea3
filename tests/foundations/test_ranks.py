from __future__ import annotations

import pytest

from caloforge.foundations.errors import UsageError
from caloforge.foundations.ranks import ALONE, Ranks

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "TORCHELASTIC_RUN_ID": "run7",
    "TORCHELASTIC_RESTART_COUNT": "2",
    "MASTER_ADDR": "node1",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "PMIX_NAMESPACE": "prterun-node1-93@1",
}
INTEL_MPI = {"PMI_RANK": "6", "PMI_SIZE": "8", "MPI_LOCALRANKID": "2", "MPI_LOCALNRANKS": "4"}
SLURM_BATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "7", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "88"}
SRUN = {
    **SLURM_BATCH,
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "4,3",
}
SLURM_SHELL = {
    **SLURM_BATCH,
    "SLURM_NTASKS": "4",
    "SLURM_STEP_ID": "4294967290",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (TORCHRUN, Ranks(5, 8, 1, 4, "run7", 2)),
        (OPEN_MPI, Ranks(3, 4, 1, 2, "prterun-node1-93@1", 0)),
        (INTEL_MPI | {"PBS_JOBID": "12.host"}, Ranks(6, 8, 2, 4, "12.host", 0)),
        (SRUN, Ranks(6, 7, 2, 4, "88-0", 0)),
        (SRUN | {"SLURM_RESTART_COUNT": "1"}, Ranks(6, 7, 2, 4, "88-0", 1)),
        # The processes of one launcher inherit what an outer one said of itself.
        (SRUN | TORCHRUN, Ranks(5, 8, 1, 4, "run7-88", 2)),
        (SRUN | OPEN_MPI, Ranks(3, 4, 1, 2, "prterun-node1-93@1", 0)),
        (SRUN | INTEL_MPI, Ranks(6, 8, 2, 4, "88-0", 0)),
        # The shell of `salloc` is a step of one task, and SLURM_NTASKS counts those that it may start.
        (SLURM_SHELL, Ranks(0, 1, 0, 1, "88-4294967290", 0)),
        (SLURM_SHELL | TORCHRUN, Ranks(5, 8, 1, 4, "run7-88", 2)),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "7", "SLURM_NTASKS": "99"}, Ranks(6, 7, 2, 4, "88-0", 0)),
        (SLURM_BATCH, ALONE),
        ({"WORLD_SIZE": "1"}, ALONE),
        ({}, ALONE),
    ],
    ids=[
        "torchrun",
        "mpirun of Open MPI",
        "mpirun of Intel MPI",
        "srun",
        "requeued",
        "torchrun below srun",
        "mpirun below srun",
        "MPICH below srun",
        "the shell of salloc",
        "torchrun in the shell of salloc",
        "srun of a part of the job",
        "a batch script without srun",
        "a world of one",
        "no launcher",
    ],
)
def test_each_launcher_is_understood(environment: dict[str, str], expected: Ranks) -> None:
    assert Ranks.from_environment(environment) == expected
    assert Ranks.from_environment(environment).leads == (expected.rank == 0)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RANK": "0"}, ("RANK=0", "expected WORLD_SIZE")),
        ({"WORLD_SIZE": "4"}, ("WORLD_SIZE=4", "expected RANK")),
        ({"RANK": "2", "WORLD_SIZE": "2"}, ("RANK=2", "WORLD_SIZE=2")),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, ("RANK=-1", "expected a number")),
        ({"RANK": "one", "WORLD_SIZE": "2"}, ("RANK=one",)),
        (OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_RANK": "2"}, ("LOCAL_RANK=2", "LOCAL_SIZE=2")),
        (SRUN | {"WORLD_SIZE": "8"}, ("WORLD_SIZE=8", "SLURM_NTASKS=7")),
        ({"PMI_RANK": "1"}, ("PMI_RANK=1", "expected PMI_SIZE")),
    ],
)
def test_what_contradicts_itself_is_named(environment: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        Ranks.from_environment(environment)
    assert all(word in str(caught.value) for word in words)


def test_processes_of_one_parent_share_a_job_where_the_launcher_names_none() -> None:
    one, other = ({**TORCHRUN, "RANK": rank, "TORCHELASTIC_RUN_ID": "none"} for rank in ("0", "1"))
    assert Ranks.from_environment(one).job == Ranks.from_environment(other).job != ""


@pytest.mark.parametrize(
    ("environment", "one_node"),
    [
        ({}, True),
        (TORCHRUN, False),
        (TORCHRUN | {"RANK": "1", "WORLD_SIZE": "4"}, True),
        ({"RANK": "1", "WORLD_SIZE": "4"}, False),  # which nobody says
        (OPEN_MPI, False),
        (SRUN, False),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "7"}, True),
    ],
)
def test_one_node_is_one_that_the_launcher_said(environment: dict[str, str], one_node: bool) -> None:
    assert Ranks.from_environment(environment).one_node is one_node
