"""Several hosts in one machine: network namespaces, joined by links of a chosen delay and rate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.processes import start

__all__ = ["EmulatedHosts", "emulated_hosts", "why_not"]

PREFIX = "caloforge"
SUBNET = "10.213.74"
MTU = 9000
SETTINGS = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    # A network of a cluster does not start slowly, and paces by credits instead of by guessing.
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.tcp_no_metrics_save": "1",
}


@dataclass(frozen=True)
class EmulatedHosts:
    """Hosts 0, 1, ... of an emulated network; each is a network namespace with one address."""

    names: tuple[str, ...]
    switch: subprocess.Popen[str]

    def __len__(self) -> int:
        """Count the hosts."""
        return len(self.names)

    def address(self, host: int) -> str:
        """Return the host's IPv4 address."""
        return f"{SUBNET}.{host + 1}"

    def namespace(self, host: int) -> str:
        """Return the name of the host's network namespace."""
        return self.names[host]

    def interface(self, host: int) -> str:
        """Return the name of the host's network interface."""
        return _interface(self.names[host])

    def shape(self, delay_s: float, rate_bit_per_s: float) -> None:
        """Set the delay and the rate of all links, each way."""
        self._ask(f"shape {delay_s!r} {rate_bit_per_s!r}")

    def traffic(self) -> list[list[int]]:
        """Return the bytes that went from host (row) to host (column) since the last call."""
        answer: list[list[int]] = json.loads(self._ask("traffic"))
        return answer

    def _ask(self, question: str) -> str:
        assert self.switch.stdin is not None
        assert self.switch.stdout is not None
        self.switch.stdin.write(question + "\n")
        self.switch.stdin.flush()
        return self.switch.stdout.readline()


def why_not() -> str | None:
    """Say in a few words why this process cannot emulate hosts; None where it can."""
    if not sys.platform.startswith("linux") or not (shutil.which("ip") and shutil.which("sysctl")):
        return "needs Linux and the commands ip (package iproute2) and sysctl (procps)"
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "needs /dev/net/tun"
    return None


@contextmanager
def emulated_hosts(n: int) -> Iterator[EmulatedHosts]:
    """Make ``n`` hosts, joined by a switch without delay or limit; remove them at the end, always.

    What a killed process left behind is removed by the next one. Raises CaloforgeError where
    namespaces cannot be made.
    """
    problem = why_not()
    if problem is not None:
        raise CaloforgeError(f"emulated hosts: {problem}")
    _remove_orphans()
    names = tuple(f"{PREFIX}-{os.getpid()}-{host}" for host in range(n))
    made: list[str] = []
    switch = None
    try:
        for name in names:
            _ip("netns", "add", name)
            made.append(name)
        switch = start(
            [sys.executable, "-m", "studies.scaling.switch", *map(_interface, names)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert switch.stdout is not None
        if switch.stdout.readline() != "ready\n":
            raise CaloforgeError("emulated hosts: the switch did not start, its reason stands above")
        hosts = EmulatedHosts(names, switch)
        for host, name in enumerate(names):
            device = _interface(name)
            settings = [f"{key}={value}" for key, value in SETTINGS.items()]
            _ip("link", "set", device, "netns", name)
            _ip("-n", name, "address", "add", f"{hosts.address(host)}/24", "dev", device)
            _ip("-n", name, "link", "set", device, "mtu", str(MTU), "txqueuelen", "10000", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("netns", "exec", name, "sysctl", "-q", "-w", *settings)
        yield hosts
    finally:
        if switch is not None:
            switch.kill()
            switch.communicate()
        for name in made:
            with suppress(CaloforgeError):  # the next one must go too
                _ip("netns", "delete", name)


def _interface(name: str) -> str:
    return name.replace(PREFIX, "cf")  # at most 15 characters


def _remove_orphans() -> None:
    for name in _ip("netns", "list").split():
        prefix, _, rest = name.partition("-")
        pid = rest.partition("-")[0]
        if prefix == PREFIX and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    command = [shutil.which("ip") or "ip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        complaint = " ".join((done.stderr or done.stdout).split())
        raise CaloforgeError(f"emulated hosts: ip {' '.join(arguments)}: {complaint}")
    return done.stdout
