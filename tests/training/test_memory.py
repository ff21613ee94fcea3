"""Freed memory stays with the process: the next step finds its pages in place."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS_OF_THE_SECOND_ARRAY = """
import resource, torch
from caloforge.training.memory import keep_freed_memory
if {keep} and not keep_freed_memory():
    raise SystemExit("not glibc")
torch.ones(1 << 24)  # 64 MB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def second_array(*, keep: bool) -> int:
    code = FAULTS_OF_THE_SECOND_ARRAY.format(keep=keep)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "not glibc" in process.stderr:
        pytest.skip("the C library is not glibc")
    return int(process.stdout)


def test_the_next_array_finds_its_pages_in_place() -> None:
    # Now and then a process gets its second array from elsewhere, for reasons of the C library's own.
    assert min(second_array(keep=True) for _ in range(3)) < 100 < second_array(keep=False)
