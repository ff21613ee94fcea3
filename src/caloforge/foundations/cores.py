"""The cores of this machine, and how processes share them.

They come from ``/sys/devices/system``, those that this process may use, in the order of the NUMA domains: an even
share then stays within one domain wherever the numbers allow it; the threads of a core stay together.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Core", "Topology"]

SYSTEM = Path("/sys/devices/system")

Core = tuple[int, ...]
"""The logical processors of one core: hardware threads."""


@dataclass(frozen=True)
class Topology:
    """The cores of a node by NUMA domain."""

    domains: tuple[tuple[Core, ...], ...]

    @classmethod
    def read(cls, allowed: set[int] | None = None, system: Path = SYSTEM) -> Topology:
        """Read it from Linux; only processors that are ``allowed`` (default: to this process) count."""
        allowed = os.sched_getaffinity(0) if allowed is None else allowed
        cores = {
            tuple(sorted(_numbers(system / f"cpu/cpu{cpu}/topology/thread_siblings_list") & allowed))
            or (cpu,)
            for cpu in allowed
        }
        nodes = sorted(system.glob("node/node[0-9]*"), key=lambda path: int(path.name[4:]))
        node_of = {cpu: i for i, node in enumerate(nodes) for cpu in _numbers(node / "cpulist")}
        domains: dict[int, list[Core]] = {}
        for core in sorted(cores):
            domains.setdefault(node_of.get(core[0], -1), []).append(core)
        return cls(tuple(tuple(domains[node]) for node in sorted(domains)))

    @property
    def cores(self) -> list[Core]:
        """All cores, domain after domain."""
        return [core for domain in self.domains for core in domain]

    def shares(self, n: int) -> list[list[Core]]:
        """Share the cores out to ``n`` processes; more processes than cores share some."""
        cores = self.cores
        if n > len(cores):
            return [[cores[i * len(cores) // n]] for i in range(n)]
        return [cores[i * len(cores) // n : (i + 1) * len(cores) // n] for i in range(n)]


def _numbers(path: Path) -> set[int]:
    """Read a list such as ``0-3,8``; a file that is missing is empty."""
    try:
        parts = path.read_text(encoding="ascii").strip().split(",")
    except OSError:
        return set()
    ends = [part.split("-") for part in parts if part]
    return {number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)}
