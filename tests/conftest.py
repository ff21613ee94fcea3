"""What holds for every test: one thread a process, since the tests themselves run side by side."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import PATIENCE_S, Caloforge, GiveAway, MadeOnce, Ran
from hypothesis import settings

# Before anything imports torch or numpy; processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whoever starts the tests in the background may have them ignore Ctrl-C, which processes that a test
# starts and interrupts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = {"process", "geant4", "browser", "training", "long"}
"""Marks of tests that take seconds."""

# How long one example takes says more of the machine's other work than of ours.
settings.register_profile("caloforge", deadline=None)
settings.load_profile("caloforge")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of long tests, so that short ones are left to fill the end of a run."""
    long = {item.path for item in items if LONG & {mark.name for mark in item.iter_markers()}}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture
def caloforge(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Caloforge:
    """Return a function that runs the command line in this process: ``caloforge("inspect", path)``."""
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


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the test processes of one run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def made_once(shared_folder: Path) -> MadeOnce:
    """Return a function that has a folder filled once, whatever the number of test processes."""
    from caloforge.foundations.locks import open_locked

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, made = shared_folder / name, shared_folder / f"{name}.made"
        with open_locked(shared_folder / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # another process failed half-way
                folder.mkdir()
                fill(folder)
                made.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def native_build(made_once: MadeOnce) -> Path:
    """Return the folder where libcaloforge, its programs and its tests are built, and installed below ``installed``."""
    missing = [program for program in ("cmake", "c++") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"libcaloforge cannot be built here: no {' and no '.join(missing)}")

    def fill(folder: Path) -> None:
        source = Path(__file__).parents[1] / "cpp"
        options = ["-DCALOFORGE_TESTS=ON", "-DCALOFORGE_WARNINGS_AS_ERRORS=ON"]
        options += [f"-DCMAKE_INSTALL_PREFIX={folder / 'installed'}", "-DCMAKE_INSTALL_LIBDIR=lib"]
        for line in (
            ["cmake", "-S", str(source), "-B", str(folder), *options],
            ["cmake", "--build", str(folder), "--parallel", "2"],
            ["cmake", "--install", str(folder)],
        ):
            done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

    return made_once("libcaloforge", fill)


@pytest.fixture
def native_library(native_build: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have libcaloforge there in this test; return its file."""
    library = native_build / "libcaloforge.so"
    monkeypatch.setenv("CALOFORGE_LIBRARY", str(library))
    return library


@pytest.fixture(scope="session")
def small_showers(made_once: MadeOnce) -> Path:
    """Return a small detector's real showers: the core of the Geant4 showers that ship, 9 x 9 x 11 cells."""
    from caloforge.files.shower_file import ShowerFile
    from caloforge.files.shower_writer import write

    def fill(folder: Path) -> None:
        with ShowerFile(Path(str(resources.files("caloforge"))) / "data" / "clic-ecal-train.h5") as file:
            showers = file.read(0, 48)
        grid = replace(showers.grid, name="core", shape=(9, 9, 11))
        core = replace(showers, deposits=showers.deposits[:, 8:17, 8:17, 2:13].copy(), grid=grid)
        write(folder / "core.h5", core)

    return made_once("small", fill) / "core.h5"


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is cached in the test run's own folder."""
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> GiveAway:
    """Return a function that makes a file another user's, or where only root may do so makes us another user."""

    def give(path: Path) -> None:
        us = os.geteuid()
        if us == 0:
            os.chown(path, 12345, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: us + 1)

    return give


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw three plots of each topic in a report, in this process: all of them take half a minute."""
    from report_samples import few_plots

    monkeypatch.setattr("caloforge.report.plots.catalogue.catalogue", few_plots)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})  # to load a second process takes longer


@pytest.fixture(scope="session")
def keras_reference(made_once: MadeOnce) -> Path:
    """Return the folder that ``keras_reference.py`` filled: networks built in Keras."""
    if find_spec("keras") is None:
        pytest.skip("keras is not installed")
    command = [sys.executable, str(Path(__file__).with_name("keras_reference.py"))]

    def fill(folder: Path) -> None:
        subprocess.run([*command, str(folder)], check=True, capture_output=True, timeout=PATIENCE_S)

    return made_once("keras", fill)
