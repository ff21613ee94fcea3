"""The program around its commands: whatever happens is one line with the right exit code, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from commands import PATIENCE_S, Ran
from shower_samples import random_showers, write_clic

import caloforge as cf
from caloforge.cli.program import LONGEST, run_program
from caloforge.foundations.errors import CaloforgeError

PROGRAM = [sys.executable, "-m", "caloforge"]

Does = Callable[[Callable[[], object]], Ran]


@pytest.fixture
def doing(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Does:
    """Return a function that runs a program whose one command does something."""

    def run(act: Callable[[], object]) -> Ran:
        app = typer.Typer(pretty_exceptions_enable=False)
        app.command()(lambda: act() and None)
        monkeypatch.setattr(sys, "argv", ["caloforge"])
        with pytest.raises(SystemExit) as stop:
            run_program(app, "caloforge")
        assert isinstance(stop.value.code, int)
        return Ran(stop.value.code, *capfd.readouterr())

    return run


def no_numpy() -> None:
    np.empty(1 << 60, np.uint8)


def no_torch() -> None:
    import torch

    torch.empty(1 << 60, dtype=torch.uint8)


def no_python() -> None:
    bytearray(1 << 60)


def no_thread() -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("act", [no_numpy, no_torch, no_python, no_thread])
def test_no_memory_is_one_line_whoever_asks_for_it(doing: Does, act: Callable[[], None]) -> None:
    doing(act).refused(1, "caloforge: out of memory")


def test_a_fault_of_ours_is_not_taken_for_want_of_memory(doing: Does) -> None:
    def fault() -> None:
        raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(RuntimeError, match="changed size"):
        doing(fault)


def test_an_error_is_short_and_steers_no_terminal(doing: Does) -> None:
    def fail() -> None:
        raise CaloforgeError("a\x1b[31m" + "x" * 10**6 + "\nthe end")

    ran = doing(fail)
    ran.refused(1, r"caloforge: a\x1b[31mxxx", "...", "the end")
    assert len(ran.err) <= LONGEST + 1


def test_an_interrupt_that_a_library_swallows_is_still_one(doing: Does) -> None:
    """It comes in a callback, which loses it, and while a library is loaded, which calls it otherwise."""

    class Thing:
        pass

    def lost() -> None:
        thing = Thing()
        callback = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert callback() is None
        time.sleep(PATIENCE_S)

    def renamed() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("cannot load library") from None

    for act in (lost, renamed):
        ran = doing(act)
        assert (ran.code, ran.err) == (130, "caloforge: interrupted\n")


def test_other_hooks_stay_as_they_were(doing: Does) -> None:
    before = sys.unraisablehook
    doing(lambda: None)
    assert sys.unraisablehook is before


LOADS = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), number)

number, wanted = int(sys.argv[1]), sys.argv[2]
sys.argv[:3] = ["caloforge"]
sys.meta_path.insert(0, Interrupting())
from caloforge.__main__ import main
main()
"""

LOADED = (
    "typer",
    "rich.table",
    "caloforge.cli.train",
    "pydantic",
    "numpy",
    "numpy._core._multiarray_umath",
    "h5py",
    "torch",
    "torch._C",
    "caloforge.generation.sampler",
)


@pytest.mark.process
@pytest.mark.parametrize("name", LOADED)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_something_is_loaded_is_one_line(
    tmp_path: Path, name: str, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", LOADS, str(int(number)), name]
    command += ["generate", "none", "--events", "1", "--energy", "10", "-o", str(tmp_path / "x.h5")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (ran.returncode, ran.stderr, ran.stdout) == (130, "caloforge: interrupted\n", "")


@pytest.mark.process
def test_a_signal_that_is_to_be_ignored_is_ignored(tmp_path: Path) -> None:
    cf.write(tmp_path / "good.h5", random_showers(2))
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", LOADS]
    command += [str(int(signal.SIGINT)), "h5py", "inspect", str(tmp_path / "good.h5"), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ran.returncode == 0
    assert "interrupted" not in ran.stderr


def run_with(redirections: str, *arguments: object, cwd: Path) -> Ran:
    """Run the program with standard streams as a shell sets them."""
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", *PROGRAM, *map(str, arguments)]
    ran = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.process
@pytest.mark.parametrize(
    "streams", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">&- 2>/dev/full"]
)
def test_what_nobody_hears_is_done_all_the_same(tmp_path: Path, streams: str) -> None:
    write_clic(tmp_path / "clic.h5")
    done = run_with(streams, "convert", "clic.h5", "-o", "out.h5", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert len(cf.read(tmp_path / "out.h5")) == 5
    assert run_with(streams, "inspect", "none.h5", cwd=tmp_path).code == 2


@pytest.mark.process
def test_results_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    cf.write(tmp_path / "good.h5", random_showers(2))
    ran = run_with(">/dev/full", "inspect", "good.h5", cwd=tmp_path)
    assert (ran.code, ran.err.splitlines()[1:]) == (1, ["caloforge: system: No space left on device"])


@pytest.mark.process
def test_a_reader_that_goes_away_ends_the_program_without_a_word(tmp_path: Path) -> None:
    cf.write(tmp_path / "good.h5", random_showers(2))
    reads, writes = os.pipe()
    os.close(reads)
    command = [*PROGRAM, "inspect", "good.h5"]
    ran = subprocess.run(
        command, cwd=tmp_path, stdout=writes, stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False
    )
    os.close(writes)
    assert (ran.returncode, b"\n" in ran.stderr.strip()) == (1, False)
    assert ran.stderr.startswith(b"inspect: 2/2")


@pytest.mark.process
def test_names_of_files_reach_the_terminal_as_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\x1b[31m\xff[red].h5")
    cf.write(tmp_path / name, random_showers(2))
    shown = r"a\x1b[31m\udcff[red].h5"
    ran = run_with("", "inspect", name, cwd=tmp_path)
    assert ran.code == 0
    assert shown in ran.out
    assert "\x1b" not in ran.out
    (tmp_path / name).write_bytes(b"")
    run_with("", "inspect", name, cwd=tmp_path).refused(1, shown)
