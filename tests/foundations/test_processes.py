"""Processes on cores of their own: the topology of machines of all kinds, and real processes that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import PATIENCE_S, Caloforge, runs, wait_until
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.cores import Core, Topology
from caloforge.foundations.processes import ProcessFailedError, environments, run_all, start
from caloforge.foundations.ranks import ALONE, Ranks


def machine(root: Path, domains: list[str], siblings: Callable[[int], str], online: range) -> Path:
    """Write the files of a Linux machine whose NUMA domains hold these processors."""
    for cpu in online:
        folder = root / f"cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings(cpu) + "\n")
    for i, cpus in enumerate(domains):
        (root / f"node/node{i}").mkdir(parents=True)
        (root / f"node/node{i}/cpulist").write_text(cpus + "\n")
    return root


def two_sockets(root: Path) -> Path:
    """Two sockets of two domains each; 16 cores with two threads, of which one is 0-15."""
    domains = ["0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31"]
    return machine(root, domains, lambda cpu: f"{cpu % 16},{cpu % 16 + 16}", range(32))


def test_a_laptop_is_one_domain(tmp_path: Path) -> None:
    system = machine(tmp_path, ["0-3"], str, range(4))
    assert Topology.read({0, 1, 2, 3}, system).domains == (((0,), (1,), (2,), (3,)),)


def test_threads_of_a_core_stay_together_and_processes_in_their_domains(tmp_path: Path) -> None:
    topology = Topology.read(set(range(32)), two_sockets(tmp_path))
    assert [len(domain) for domain in topology.domains] == [4, 4, 4, 4]
    assert topology.domains[1] == ((4, 20), (5, 21), (6, 22), (7, 23))
    # The talk's four workers a node, then two for each socket, then two a domain.
    assert [tuple(share) for share in topology.shares(4)] == list(topology.domains)
    assert topology.shares(2) == [topology.cores[:8], topology.cores[8:]]
    assert topology.shares(8)[3] == [(6, 22), (7, 23)]


def test_only_processors_that_may_be_used_count(tmp_path: Path) -> None:
    # A batch system gave two domains in part, and one thread of a core.
    system = two_sockets(tmp_path)
    topology = Topology.read({2, 3, 18, 8, 9, 24, 25}, system)
    assert topology.domains == (((2, 18), (3,)), ((8, 24), (9, 25)))
    assert topology.shares(2) == [[(2, 18), (3,)], [(8, 24), (9, 25)]]


def test_offline_cores_and_domains_of_memory_alone_are_nobodys(tmp_path: Path) -> None:
    system = machine(tmp_path, ["0-1,4-5", "", "2-3,6-7"], str, range(6))
    assert Topology.read({0, 1, 2, 3, 4, 5}, system).domains == (((0,), (1,), (4,), (5,)), ((2,), (3,)))


def test_a_system_that_tells_nothing_has_one_domain_of_single_cores(tmp_path: Path) -> None:
    assert Topology.read({3, 5}, tmp_path).domains == (((3,), (5,)),)


def test_this_machine_is_read() -> None:
    used = [cpu for core in Topology.read().cores for cpu in core]
    assert sorted(used) == sorted(os.sched_getaffinity(0))


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5), n=st.integers(1, 40))
def test_shares_are_even_and_all_cores_are_used(sizes: list[int], n: int) -> None:
    numbers = iter(range(sum(sizes)))
    domains = tuple(tuple[Core, ...]((next(numbers),) for _ in range(size)) for size in sizes)
    shares = Topology(domains).shares(n)
    lengths = [len(share) for share in shares]
    assert len(shares) == n
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
    assert {core for share in shares for core in share} <= {core for d in domains for core in d}
    if n <= sum(sizes):
        assert sum(lengths) == sum(sizes)


SHARES: list[list[Core]] = [[(0, 4), (1, 5)], [(2, 6), (3, 7)]]


def test_each_process_is_told_its_place() -> None:
    first, second = map(Ranks.from_environment, environments(SHARES, given={}))
    assert (first.rank, first.world, first.local_rank, first.local_world) == (0, 2, 0, 2)
    assert (second.rank, second.world, second.local_rank, second.local_world) == (1, 2, 1, 2)
    assert [e["OMP_NUM_THREADS"] for e in environments(SHARES, given={})] == ["2", "2"]
    assert environments(SHARES, given={"OMP_NUM_THREADS": "7"})[1]["OMP_NUM_THREADS"] == "7"


@pytest.mark.process
def test_below_srun_the_processes_of_all_nodes_are_one_job() -> None:
    # One task on each of three nodes; this is the last.
    srun = {"SLURM_PROCID": "2", "SLURM_NTASKS": "3", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7"}
    srun |= {"SLURM_LOCALID": "0", "SLURM_STEP_TASKS_PER_NODE": "1(x3)", "SLURM_RESTART_COUNT": "1"}
    ranks = [Ranks.from_environment(e) for e in environments(SHARES, Ranks.from_environment(srun), srun)]
    assert [(r.rank, r.world, r.local_rank, r.local_world) for r in ranks] == [
        (4, 6, 0, 2),
        (5, 6, 1, 2),
    ]
    assert {(r.job, r.attempt) for r in ranks} == {("7-0-7", 1)}


def python(code: str) -> list[str]:
    return [
        sys.executable,
        "-I",
        "-c",
        f"import os, signal, sys, time; rank = os.environ['RANK']; {code}",
    ]


@pytest.mark.process
def test_processes_are_bound_and_share_nothing_where_there_are_cores(tmp_path: Path) -> None:
    told = f"open({str(tmp_path)!r} + '/' + rank, 'w').write(str(sorted(os.sched_getaffinity(0))))"
    before = os.sched_getaffinity(0)
    run_all(python(told), 2)
    bound = [set(json.loads((tmp_path / rank).read_text())) for rank in "01"]
    assert bound[0] | bound[1] == before or len(before) == 1
    assert not bound[0] & bound[1] or len(before) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.process
def test_the_first_that_fails_ends_the_others_and_is_named() -> None:
    with pytest.raises(ProcessFailedError, match=r"rank 1 of 3 failed \(exit code 7\)") as caught:
        run_all(python("sys.exit(7) if rank == '1' else time.sleep(600)"), 3)
    assert caught.value.exit_code == 7


@pytest.mark.process
def test_one_that_was_killed_is_named_by_its_signal() -> None:
    kill = "os.kill(os.getpid(), signal.SIGKILL) if rank == '0' else time.sleep(600)"
    with pytest.raises(ProcessFailedError, match=r"rank 0 of 2 failed \(signal 9, SIGKILL\)") as caught:
        run_all(python(kill), 2)
    assert caught.value.exit_code == 137


@pytest.mark.process
def test_one_that_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caloforge.foundations.processes.PATIENCE_S", 0.2)
    deaf = "rank == '1' and (time.sleep(0.5), sys.exit(3)); signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    with pytest.raises(ProcessFailedError, match="rank 1 of 2"):
        run_all(python(deaf), 2)


MAIN = """
import sys
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.processes import run_all
try:
    run_all(sys.argv[1:], 2)
except CaloforgeError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def launcher(code: str, folder: Path, first: str = "") -> subprocess.Popen[str]:
    """Start a launcher of two processes, and wait until both did ``first`` and go on to ``code``."""
    ready = f"{first}open({str(folder)!r} + '/' + rank, 'w').write(str(os.getpid())); "
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *python(ready + code)], stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: all((folder / r).exists() and (folder / r).read_text() for r in "01"))
    return process


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_handed_on(tmp_path: Path, number: signal.Signals) -> None:
    # Each process answers as a training does that was asked to stop.
    block = f"signal.pthread_sigmask(0, {{{number:d}}}); "
    process = launcher(f"sys.exit(40 + signal.sigwait({{{number:d}}}))", tmp_path, block)
    process.send_signal(number)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 40 + number
    assert out.rstrip().endswith(f"failed (exit code {40 + number}); after {number.name}")


@pytest.mark.process
def test_processes_end_with_a_launcher_that_was_killed(tmp_path: Path) -> None:
    process = launcher("time.sleep(600)", tmp_path)
    pids = [int((tmp_path / rank).read_text()) for rank in "01"]
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(runs, pids)))


PARENT = """
import sys
from caloforge.foundations.processes import start
child = start([sys.executable, "-c", "import time; time.sleep(600)"], unheard={unheard})
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.process
@pytest.mark.parametrize("unheard", [False, True])
def test_a_command_ends_with_the_process_that_started_it(unheard: bool) -> None:
    program = PARENT.format(unheard=unheard)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not runs(child))


@pytest.mark.process
def test_a_command_that_hears_no_signal_is_left_to_this_process() -> None:
    wait = [sys.executable, "-c", "print('ready', flush=True); input()"]
    pipe = subprocess.PIPE
    with start(wait, unheard=True, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.communicate("\n")
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--nproc 2 nothing run", "expected a command of caloforge, got 'nothing'"),
        ("--nproc 2 launch inspect x", "got 'launch'"),
        ("--nproc 2 generate run --evnts 8 -o x.h5", "--evnts"),
        ("--nproc 0 inspect x", "'--nproc'"),
        ("--nproc 2", "COMMAND"),
    ],
)
def test_wrong_use_is_told_once(caloforge: Caloforge, line: str, words: str) -> None:
    caloforge("launch", *line.split()).refused(2, words)


def test_a_world_of_one_is_like_no_launcher() -> None:
    (environment,) = environments(SHARES[:1], ALONE, {})
    assert Ranks.from_environment(environment).leads
