"""Hosts emulated with network namespaces: they talk at the set pace, and they go."""

from __future__ import annotations

import os
import shutil
import subprocess
from statistics import median

import pytest

from caloforge.foundations.errors import CaloforgeError
from studies.scaling.allreduce import allreduce_processes
from studies.scaling.cost_model import Link, gloo_mesh_s, gloo_ring_s
from studies.scaling.emulation import emulated_hosts, why_not

can_emulate = pytest.mark.skipif(why_not() is not None, reason=f"emulated hosts: {why_not()}")


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


@pytest.mark.process
@can_emulate
def test_gloo_goes_round_a_ring_at_the_pace_that_is_set() -> None:
    with emulated_hosts(4) as hosts, allreduce_processes(hosts) as reduce:
        for way in (4, 2, (2, 2, 1)):
            reduce(way, 16, 1)  # connects
        hosts.traffic()
        reduce(4, 1 << 20, 3)
        traffic = hosts.traffic()
        hosts.shape(2e-3, 1e8)
        fast, slow = (median(reduce(2, size, 3)) for size in (1 << 14, 1 << 20))
        mesh = median(reduce((2, 2, 1), 1 << 14, 3))
    for source, row in enumerate(traffic):
        neighbour = (source - 1) % 4
        for target, size in enumerate(row):
            # Three times and one to begin: 2 * 3/4 of a MiB each, to one neighbour; to the other only words.
            if target == neighbour:
                assert 0.9 < size / (4 * 1.5 * (1 << 20)) < 1.3  # some still on their way; repeats
            else:
                assert size < 1e6
    # A busy machine makes it slower; nothing makes it faster than the wire.
    link = Link.of_rate(2e-3, 1e8)
    assert gloo_ring_s(2, 1 << 14, link) * 0.98 < fast
    assert gloo_ring_s(2, 1 << 20, link) * 0.98 < slow
    assert gloo_mesh_s((2, 2, 1), 1 << 14, link, link) * 0.98 < mesh
    assert str(os.getpid()) not in namespaces()


@pytest.mark.process
@can_emulate
def test_hosts_go_when_their_user_fails_and_when_their_user_was_killed() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    orphan = f"caloforge-{gone.pid}-0"
    subprocess.run(["ip", "netns", "add", orphan], check=True)
    assert orphan in namespaces()

    def fail() -> None:
        with emulated_hosts(2):
            assert f"caloforge-{os.getpid()}-1" in namespaces()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert orphan not in namespaces()
    assert str(os.getpid()) not in namespaces()


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"geteuid": lambda: 1000}, "needs root"),
        ({"access": lambda path, mode: False}, "needs /dev/net/tun"),
    ],
)
def test_where_it_cannot_be_the_reason_is_one_line(
    broken: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/sbin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, function in broken.items():
        monkeypatch.setattr(os, name, function)
    with pytest.raises(CaloforgeError, match=words) as error, emulated_hosts(2):
        pass
    assert "\n" not in str(error.value)


def test_without_the_program_ip_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "iproute2" in str(why_not())
