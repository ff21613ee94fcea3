"""Every example in the help runs, one after the other, as a newcomer would type them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from commands import Caloforge, Ran
from edm4hep_samples import put_events
from launchers import put_srun
from loaded import Task, start_loaded
from report_samples import few_plots as few_plots_of
from shower_samples import (
    PHOTON_LAYERS,
    binning_xml,
    write_calochallenge,
    write_clic,
    write_core,
    write_point_clouds,
)

from caloforge.cli import bench, main, validate
from caloforge.detector import load_detector
from caloforge.files.shipped import shipped_showers
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import write
from caloforge.showers import Showers

# What an example trains, measures or draws for minutes is cut short; all else is as in the help.
SHORTER = {
    "train": "--set max_steps={steps} --set batch_size=4 --set check_showers=4",
    "demo": "--minutes 0.02",
    "bench": "--minutes 0.01",
    "search": "--trials 1 --each 0.1",
}

LONG = (*bench.EXAMPLES, *validate.EXAMPLES[1:])


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_plots: None) -> Path:
    """A folder with the public files that the examples of convert name, and showers for those of search.

    The demo has a few showers. A plot takes most of a second: one of each topic and one display are drawn.
    """
    monkeypatch.setattr("caloforge.report.plots.catalogue.catalogue", partial(few_plots_of, each=1))
    monkeypatch.setattr("caloforge.report.plots.catalogue.DISPLAY_QUANTILES", (0.5,))
    for name in ("EleEscan_1_1.h5", "EleEscan_1_2.h5"):
        write_clic(tmp_path / name)
    binning = tmp_path / "binning_dataset_1_photons.xml"
    binning.write_text(binning_xml((22, "photon", PHOTON_LAYERS)))
    write_calochallenge(tmp_path / "dataset_1_photons_1.hdf5", 368)
    write_point_clouds(tmp_path / "ild-photons-calohits.hdf5")
    put_events(tmp_path / "ild-photon.edm4hep.root", monkeypatch)
    write_core(tmp_path / "train.h5", 170)
    put_challenge(tmp_path / "calochallenge-2.h5")
    few = tmp_path / "few.h5"
    with ShowerFile(shipped_showers("test")) as file:
        write(few, file.read(0, 40))
    monkeypatch.setattr("caloforge.demo.shipped_showers", lambda _: few)
    monkeypatch.setattr("caloforge.demo.FRESH_SHOWERS", 2)
    put_srun(tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def put_challenge(path: Path) -> None:
    """Write two electrons on the CaloChallenge's detector."""
    grid, two = load_detector("calochallenge-2").grid, np.ones(2, np.float32)
    write(path, Showers(np.ones((2, *grid.shape), np.float32), 1e4 * two, np.pi / 2 * two, grid))


@pytest.mark.process
def test_the_examples_in_the_help_run(workplace: Path, caloforge: Caloforge) -> None:
    steps = 1
    for module in main.COMMANDS:
        for example in module.EXAMPLES:
            command = _split(example)[1]
            steps += command == "train"
            if example not in LONG:
                _run(example, workplace, caloforge, steps)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("example", LONG)
def test_the_examples_that_take_a_minute_each_run(
    example: str, workplace: Path, caloforge: Caloforge
) -> None:
    for name in ("showers", "generated", "like"):
        shutil.copy(shipped_showers("test"), workplace / f"{name}.h5")
    _run(example, workplace, caloforge, 1)


def _split(example: str) -> tuple[str, str, list[str]]:
    """Split into a launcher's line, the command, and its arguments."""
    # A launcher's line starts one process here; what several do is tested where they are at home.
    launcher, name, rest = re.sub(r"(per-node) 4", r"\1 1", example).rpartition("caloforge ")
    assert name
    command, *arguments = shlex.split(rest)
    return launcher and launcher + name, command, arguments


def _run(example: str, workplace: Path, caloforge: Caloforge, steps: int) -> None:
    launcher, command, arguments = _split(example)
    shortened = arguments[2] if command == "launch" else command
    arguments += shlex.split(SHORTER.get(shortened, "").format(steps=steps))
    if launcher:
        line = [*shlex.split(launcher), command, *arguments]
        ran = subprocess.run(line, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{example}: {ran.stderr}"
    else:
        tasks = list[Task]()

        def start(words: Sequence[str], *, env: Mapping[str, str], **_: object) -> Task:
            tasks.append(start_loaded(*words[1:], **env))
            return tasks[-1]

        # Not for all commands: who imports it meanwhile would keep it.
        replaced = mock.patch("caloforge.foundations.processes.start", start)
        with replaced if command == "launch" else nullcontext():
            here: Ran = caloforge(command, *arguments)
        said = [task.communicate() for task in tasks]
        assert here.code == 0, f"{example}: {here.err} {said}"
    for flag in ("-o", "--out"):
        if flag in arguments:
            made = workplace / arguments[arguments.index(flag) + 1]
            assert made.exists(), example


def test_the_help_of_every_command_shows_its_examples(caloforge: Caloforge) -> None:
    listing = caloforge("--help")
    for module in main.COMMANDS:
        name = module.__name__.rpartition(".")[2]
        assert name in listing.out
        shown = " ".join(caloforge(name, "--help").out.split())
        for example in module.EXAMPLES:
            assert example.split()[1] in shown
        # rich takes what stands between colons for the name of a picture: log:a:b becomes log🅰b.
        assert not re.search("[\U0001f000-\U0001faff]", shown), name
