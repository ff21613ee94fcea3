from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from caloforge.cli import console


def test_results_are_lines_or_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"file": "x.h5", "range_MeV": [1, 2.5], "nothing": None}
    console.print_result(result, as_json=False)
    assert capsys.readouterr().out == "file       x.h5\nrange_MeV  [1, 2.5]\nnothing    None\n"
    console.print_result(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result


def test_tables_hold_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table("Speed", ("what", "ms"), [("generate", 1.23456), ("train", 7)])
    out = capsys.readouterr().out
    for text in ("Speed", "what", "ms", "generate", "1.235", "train", "7"):
        assert text in out


def test_away_from_a_terminal_progress_is_rare_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("caloforge.cli.console.time.monotonic", lambda: now)
    with console.progress("train", "showers") as report:
        report(100, 1100)
        now = 5.0
        report(300, 1100)  # too soon for another line
        now = 20.0
        report(500, 1100, loss=1.5)
        now = 50.0
        report(1100, 1100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "train: 500/1100, 20 showers/s, 30 s left loss=1.5",
        "train: 1100/1100, 20 showers/s",
    ]


SHOWS_A_BAR = """
from caloforge.cli.console import progress
with progress("generate", "showers") as report:
    report(0, 10)
    report(10, 10, loss=0.25)
"""


@pytest.mark.process
def test_on_a_terminal_progress_is_a_bar() -> None:
    terminal, end = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-c", SHOWS_A_BAR]
    ran = subprocess.run(command, stderr=end, stdout=subprocess.PIPE, env=environment, check=True)
    os.close(end)
    written = b""
    with suppress(OSError):  # what a terminal says once nobody writes to it any more
        while piece := os.read(terminal, 1 << 16):
            written += piece
    os.close(terminal)
    shown = written.decode()
    assert ran.stdout == b""
    for text in ("generate", "10/10", "showers/s", "loss=0.25", "left"):
        assert text in shown
