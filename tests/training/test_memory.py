"""Freed memory stays with the process: the next step finds its pages in place."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

FAULTS_OF_THE_NEXT_ARRAY = """
import resource, torch
from caloforge.training.memory import keep_freed_memory
if {keep} and not keep_freed_memory():
    raise SystemExit("not glibc")
for _ in range(32):  # a place that is large enough is found within a few, by build of torch 3 to 9
    torch.ones(1 << 24)  # 64 MB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def next_array(*, keep: bool) -> int:
    code = FAULTS_OF_THE_NEXT_ARRAY.format(keep=keep)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "not glibc" in process.stderr:
        pytest.skip("the C library is not glibc")
    return int(process.stdout)


def test_the_next_array_finds_its_pages_in_place() -> None:
    assert next_array(keep=True) < 100 < next_array(keep=False)
