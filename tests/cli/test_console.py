from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.cli import console
from caloforge.foundations.progress import Part
from caloforge.foundations.units import DEGREE, Spectrum


def test_results_are_a_table_or_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"file": "x.h5", "range_MeV": [1, 2.5], "nothing": None}
    rows = {"energy": "1 to 2.5 GeV", "hits": "543"}
    console.print_result(result, "x.h5", rows.items(), as_json=False)
    assert capsys.readouterr().out == "x.h5\n  energy  1 to 2.5 GeV\n  hits    543\n"
    console.print_result(result, "x.h5", rows.items(), as_json=True)
    assert json.loads(capsys.readouterr().out) == result


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.001234, "0.00123"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1234.5, "1,234"),
        (-81.29, "-81.3"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert console.digits(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"), [(10, 500, "10 to 500 GeV"), (90, 90, "90 GeV"), (89.999, 90.001, "90 GeV")]
)
def test_a_range_of_one_value_is_that_value(low: float, high: float, text: str) -> None:
    assert console.span(low, high, "GeV") == text


def test_tables_hold_every_cell(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(
        "Speed",
        ("what", "ms"),
        [("generate", 1.23456), ("train", 7), ("fill", 12345.6), ("read", 282312)],
    )
    out = capsys.readouterr().out
    for text in ("Speed", "what", "ms", "generate", "1.235", "train", "7", "12,346", "282,312"):
        assert text in out


def test_nothing_in_a_table_is_markup_or_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    texts = ("[/x]", "[red]a[/red]", "[link=file:x]", ":smile:", "\x1b[31mb", "\udcff", "a\nb")
    console.print_table("[/title]", ("[/column]",), [(text,) for text in texts])
    out = capsys.readouterr().out
    for text in ("[/title]", "[/column]", *texts[:4], r"\x1b[31mb", r"\udcff", r"a\nb"):
        assert text in out
    assert "\x1b" not in out


def test_results_and_remarks_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_result({}, "a\x1b", [("file", "\x1b]0;x\x07")], as_json=False)
    console.show("\x1b[2J")
    console.say("a\nb\x1b")
    captured = capsys.readouterr()
    assert captured.out == "a\\x1b\n  file  \\x1b]0;x\\x07\n\\x1b[2J\n"
    assert captured.err == "a\\nb\\x1b\n"


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
        "train: 500/1100  45 %  20 showers/s  elapsed 0:20, left 0:30  loss=1.5",
        "train: 1100/1100  100 %  20 showers/s  elapsed 0:50",
    ]


def test_per_cent_are_not_counted_twice_and_the_stage_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("caloforge.cli.console.time.monotonic", lambda: now)
    with console.progress("validate", "%") as report:
        part = Part(report).shares((1, 1), ("reading", "drawing"))[0]
        part(0, 10)
        now = 25.0
        part(10, 10)
    assert capsys.readouterr().err == "validate: 50 %  elapsed 0:25, left 0:25  reading\n"


@given(
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.floats(0, 1e5),
    st.floats(1, 1e5),
)
def test_what_is_left_follows_from_what_was_done(
    before: int, now: int, more: int, began: float, seconds: float
) -> None:
    total, clock = before + now + more, [began, began, began + seconds, began + seconds]
    with patch("caloforge.cli.console.time.monotonic", side_effect=clock):
        pace = console._Pace("showers")
        pace.see(before, total, {})
        pace.see(before + now, total, {})
        text = str(pace)
    found = re.fullmatch(r"(\d+)/(\d+)  (\d+) %  .* showers/s  elapsed ([\d:]+), left ([\d:]+)", text)
    assert found, text
    assert (int(found[1]), int(found[2])) == (before + now, total)
    assert 0 <= int(found[3]) <= 100 * (before + now) / total < 100

    def read(clock: str) -> int:
        hours, minutes, rest = [0, 0, *map(int, clock.split(":"))][-3:]
        assert minutes < 60 > rest
        return 3600 * hours + 60 * minutes + rest

    assert abs(read(found[4]) - seconds) <= 0.501
    assert abs(read(found[5]) - more / now * seconds) <= 0.501 + 1e-9 * more / now * seconds


@pytest.mark.parametrize(
    ("low", "high", "warned"), [(1.57, 1.57, True), (1.05, 2.09, True), (60, 120, False), (4, 90, False)]
)
def test_angles_that_look_like_radians_are_warned_about(
    low: float, high: float, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tuple(dict.fromkeys((low * DEGREE, high * DEGREE)))
    console.warn_of_radians(Spectrum("uniform" if len(values) == 2 else "discrete", values))
    assert ("looks like radians; expected degrees" in capsys.readouterr().err) == warned


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
    for text in ("generate", "10/10", "100 %", "showers/s", "loss=0.25", "elapsed 0:0"):
        assert text in shown
