"""What the studies' tests share: a study's command, run in this process."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest
from commands import Caloforge, Ran


@pytest.fixture
def study(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caloforge:
    """Return a function that runs ``python -m studies.NAME``: ``study("evolution", "bias")``."""
    from studies.command import start

    def run(name: str, *arguments: object) -> Ran:
        main = import_module(f"studies.{name}.__main__")
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            start(main.run, main.MODULE, main.EXAMPLES)
        out, err = capfd.readouterr()
        assert isinstance(stop.value.code, int)
        return Ran(stop.value.code, out, err)

    return run
