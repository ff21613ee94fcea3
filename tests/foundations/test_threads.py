"""Threads give way to each other, so that a shared core does not stop training."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_openmp_waits_without_spinning_unless_told_otherwise(given: str | None, policy: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({} if given is None else {"OMP_WAIT_POLICY": given})
    process = subprocess.run(
        [sys.executable, "-c", "import caloforge, torch"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    if "OMP_WAIT_POLICY" not in process.stderr:
        pytest.skip("this torch does not run on an OpenMP that tells its settings")
    assert f"OMP_WAIT_POLICY = '{policy}'" in process.stderr
