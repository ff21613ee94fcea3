"""Every example in the help runs, one after the other, as a newcomer would type them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from commands import Caloforge, Ran
from shower_samples import PHOTON_LAYERS, binning_xml, write_calochallenge, write_clic

from caloforge.cli import main

# What an example trains, measures or draws for minutes is cut short; all else is as in the help.
SHORTER = {
    "train": "--set max_steps={steps} --set batch_size=4 --set check_showers=4",
    "demo": "--minutes 0.02",
    "bench": "--minutes 0.01",
}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the public files that the examples of convert name."""
    for name in ("EleEscan_1_1.h5", "EleEscan_1_2.h5"):
        write_clic(tmp_path / name)
    binning = tmp_path / "binning_dataset_1_photons.xml"
    binning.write_text(binning_xml((22, "photon", PHOTON_LAYERS)))
    write_calochallenge(tmp_path / "dataset_1_photons_1.hdf5", 368)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_examples_in_the_help_run(workplace: Path, caloforge: Caloforge) -> None:
    steps = 1
    for module in main.COMMANDS:
        for example in module.EXAMPLES:
            program, command, *arguments = shlex.split(example)
            assert program == "caloforge"
            steps += command == "train"
            extra = SHORTER.get(command, "").format(steps=steps)
            ran: Ran = caloforge(command, *arguments, *shlex.split(extra))
            assert ran.code == 0, f"{example}: {ran.err}"
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
