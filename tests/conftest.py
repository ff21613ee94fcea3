"""What holds for every test: one thread a process, since the tests themselves run side by side."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from commands import Caloforge, Ran
from hypothesis import settings

# Before anything imports torch or numpy; processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whoever starts the tests in the background may have them ignore Ctrl-C, which processes that a test
# starts and interrupts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says more of the machine's other work than of ours.
settings.register_profile("caloforge", deadline=None)
settings.load_profile("caloforge")


@pytest.fixture
def caloforge(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caloforge:
    """Give a function that runs the command line in this process: ``caloforge("inspect", path)``."""
    from caloforge.cli.main import main

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["caloforge", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Ran(stop.value.code, out, err)

    return run
