"""A few damaged files and a few kills; `nox -s robustness` tries a thousand and a hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.slow]

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "arguments", [("damage.py", "--inputs", "23"), ("kills.py", "--kills", "8")], ids=["damage", "kills"]
)
def test_nothing_is_lost_and_nothing_misleads(arguments: tuple[str, ...]) -> None:
    """The seed is drawn, and shown where something goes wrong."""
    program, *options = arguments
    done = subprocess.run(
        [sys.executable, str(HERE / program), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
