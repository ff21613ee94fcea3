"""Where and with what a measurement was made: without it a speed means nothing."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe_machine", "package_versions"]

PACKAGES = ("caloforge", "torch", "numpy", "h5py", "geant4-pybind", "keras", "onnxruntime", "openvino")
"""What decides the speed of something here, where it is installed."""


def describe_machine() -> dict[str, str | int | float]:
    """Return the processor's model, its cores that this process may use, the memory (GiB), the system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_GiB": round(memory, 1),
        "system": platform.platform(),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of those of :data:`PACKAGES` that are installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            # x86 says "model name", some ARM and POWER machines "Model" or "cpu".
            if name.strip() in ("model name", "Model", "cpu"):
                return value.strip()
    return platform.processor() or platform.machine()
