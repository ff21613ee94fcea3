"""Wrong use of the command line: one line that names what is wrong, the right exit code, and no file.

Every row is a command as somebody types it, in a folder with the files that ``place`` makes. To cover
another command, add rows; to need another file, make it in ``place``.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import Caloforge
from shower_samples import (
    PHOTON_LAYERS,
    binning_xml,
    random_showers,
    write_calochallenge,
    write_clic,
    write_clic_angle,
    write_lemurs,
)

import caloforge as cf
from caloforge.detector import Grid
from caloforge.models.saved import ModelCard, save_model

# fmt: off
ROWS: tuple[tuple[str, int, str], ...] = (
    # The program itself: command line, exit code, what the one line must say.
    ("frobnicate",                                              2, "No such command 'frobnicate'"),
    ("--frobnicate",                                            2, "No such option: --frobnicate"),
    ("--json",                                                  2, "No such option: --json"),
    ("--install-completion",                                    2, "No such option: --install-completion"),
    ("inspect --frobnicate good.h5",                            2, "caloforge inspect: No such option: --frobnicate"),

    ("inspect",                                                 2, "Missing argument 'FILE'"),
    ("inspect good.h5 clic.h5",                                 2, "unexpected extra argument"),
    ("inspect none.h5",                                         2, "none.h5: no such file"),
    ("inspect none/good.h5",                                    2, "none/good.h5: no such file"),
    ("inspect good.h5/good.h5",                                 2, "good.h5/good.h5: no such file"),
    ("inspect folder",                                          2, "folder: expected an HDF5 file, this is a folder"),
    ("inspect ''",                                              2, ".: expected an HDF5 file, this is a folder"),
    ("inspect pipe",                                            2, "pipe: expected an HDF5 file, this is not a regular file"),
    ("inspect /dev/zero",                                       2, "/dev/zero: expected an HDF5 file"),
    ("inspect empty.h5",                                        1, "empty.h5: not an HDF5 file"),
    ("inspect truncated.h5",                                    1, "truncated.h5: truncated"),
    ("inspect text.h5",                                         1, "text.h5: not an HDF5 file"),
    ("inspect nan.h5",                                          1, "nan.h5: field showers: expected finite deposits >= 0, shower 2, cell (1, 2, 3) holds nan"),
    ("inspect nan.h5 --json",                                   1, "nan.h5: field showers"),
    ("inspect units.h5",                                        1, "units.h5: field showers, attribute units: expected 'MeV', found 'GeV'"),
    ("inspect lemurs.h5",                                       1, "lemurs.h5: in the public layout lemurs: `caloforge convert lemurs.h5 -o showers.h5`"),
    ("inspect other.h5",                                        1, "other.h5: attribute format: expected 'caloforge-showers', found None"),

    ("convert -o out.h5",                                       2, "Missing argument 'IN...'"),
    ("convert clic.h5",                                         2, "Missing option '--output'"),
    ("convert clic.h5 -o",                                      2, "'-o' requires an argument"),
    ("convert clic.h5 -o out.h5 --layout root",                 2, "--layout: expected one of auto, clic, clic-angle, calochallenge, lemurs, edm4hep, points, got 'root'"),
    ("convert clic.h5 -o out.h5 --layout lemurs",               1, "clic.h5: field showers is missing"),
    ("convert clic.h5 -o out.h5 --layout clic-angle",           1, "clic.h5: field ECAL: expected shape (N, 51, 51, 25), found (5, 25, 25, 25)"),
    ("convert clic.h5 -o out.h5 --binning binning.xml",         2, "clic.h5: --binning belongs to calochallenge"),
    ("convert clic.h5 none.h5 -o out.h5",                       2, "none.h5: no such file"),
    ("convert clic.h5 clic.h5 -o out.h5",                       2, "clic.h5: is given 2 times"),
    ("convert clic.h5 folder/../clic.h5 -o out.h5",             2, "clic.h5: is given 2 times"),
    ("convert clic.h5 angle.h5 -o out.h5",                      2, "angle.h5: expected clic clic-ecal (25, 25, 25), primary 11 as in clic.h5, found clic-angle"),
    ("convert good.h5 -o out.h5",                               2, "good.h5: is a shower file already"),
    ("convert other.h5 -o out.h5",                              1, "other.h5: unknown layout: found fields 'images'"),
    ("convert truncated.h5 -o out.h5",                          1, "truncated.h5: truncated"),
    ("convert negative.h5 -o out.h5",                           1, "negative.h5: field ECAL: expected finite deposits >= 0, shower 1, cell (3, 4, 5) holds -0.5"),
    ("convert photons.h5 -o out.h5",                            2, "photons.h5: 368 voxels: expected --binning FILE.xml"),
    ("convert photons.h5 -o out.h5 --binning none.xml",         2, "none.xml: no such file"),
    ("convert photons.h5 -o out.h5 --binning folder",           2, "folder: expected a binning XML file, this is a folder"),
    ("convert photons.h5 -o out.h5 --binning pipe",             2, "pipe: expected a binning XML file, this is not a regular file"),
    ("convert photons.h5 -o out.h5 --binning good.h5",          2, "good.h5: expected a binning XML file in UTF-8"),
    ("convert photons.h5 -o out.h5 --binning text.h5",          2, "text.h5, line 1: syntax error"),
    ("convert photons.h5 -o out.h5 --binning entity.xml",       2, "entity.xml: expected a binning XML file without a DOCTYPE"),
    ("convert lemurs.h5 -o lemurs.h5",                          2, "lemurs.h5: the output would replace an input"),
    ("convert photons.h5 -o binning.xml --binning binning.xml", 2, "binning.xml: the output would replace an input"),
    ("convert clic.h5 -o folder",                               2, "folder: expected a file name, this is a folder"),
    ("convert clic.h5 -o pipe",                                 2, "pipe: expected a file name, this is not a regular file"),
    ("convert clic.h5 -o /dev/null",                            2, "/dev/null: expected a file name, this is not a regular file"),
    ("convert clic.h5 -o out.txt",                              2, "out.txt: showers are not written as .txt; expected out.h5, or for hits out.csv, out.parquet, out.root"),
    ("convert clic.h5 -o out.h5 --detector clic-ecal",          2, "clic.h5: --detector belongs to edm4hep and points, this file is clic"),
    ("convert clic.h5 -o out.h5 --layout points",               2, "clic.h5: --detector: expected whose cells the hits of layout points are put into"),
    ("convert clic.h5 -o out.h5 --layout points --detector clic-ecal", 1, "clic.h5: field events is missing"),
    ("convert clic.h5 -o out.h5 --layout edm4hep --detector clic-ecal", 1, "clic.h5: the file cannot be read: not EDM4hep, or damaged"),
    ("convert clic.h5 -o out.h5 --face 1,2",                    2, "--face: expected X,Y,Z in mm, got '1,2'"),
    ("convert clic.h5 -o out.h5 --face 1,2,inf",                2, "--face: expected finite numbers, got '1,2,inf'"),
    ("convert clic.h5 -o out.h5 --particle e-,gamma",           2, "--particle: expected one particle, got 'e-,gamma'"),
    ("convert clic.h5 -o none/out.h5",                          2, "none/out.h5: the folder none does not exist"),
    ("convert clic.h5 -o good.h5/out.h5",                       2, "good.h5/out.h5: the folder good.h5 does not exist"),

    ("simulate",                                                2, "Missing option '--detector'"),
    ("simulate --detector clic-ecal --events 2 --energy 10:50", 2, "Missing option '--output'"),
    ("simulate --detector clic-ecal --events two --energy 10 -o out.h5", 2, "Invalid value for '--events'"),
    ("simulate --detector clic-ecal --events 0 --energy 10 -o out.h5",   2, "--events"),
    ("simulate --detector clic-ecal --events 2 --energy 50:10 -o out.h5", 2, "--energy: the lower bound must be below the upper one, got '50:10'"),
    ("simulate --detector clic-ecal --events 2 --energy -5 -o out.h5",   2, "--energy: expected a:b, log:a:b or a,b,c with positive numbers, got '-5'"),
    ("simulate --detector clic-ecal --events 2 --energy nan -o out.h5",  2, "--energy: expected a:b"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --theta 60:190 -o out.h5", 2, "--theta"),
    ("simulate --detector clic-ecal --events 2 -o out.h5",                            2, "--events and --energy: both are needed, or --like FILE"),
    ("simulate --detector clic-ecal --like good.h5 --phi 0 -o out.h5",                2, "--like: takes the primaries from the file; --energy,"),
    ("simulate --detector clic-ecal --like none.csv -o out.h5",                       2, "none.csv: no such file"),
    ("simulate --detector clic-ecal --like none.root -o out.h5",                      2, "none.root: no such file"),
    ("simulate --detector clic-ecal --like clic.h5 -o out.h5",                        1, "clic.h5: attribute format: expected 'caloforge-showers'"),
    ("simulate --detector clic-ecal --like good.h5 -o good.h5",                       2, "good.h5: the output would replace an input"),
    ("simulate --detector clic-ecal --events 2 --energy none.csv -o out.h5",          2, "none.csv: no such file"),
    ("simulate --detector clic-ecal --events 2 --energy 1 --overlay 0 -o out.h5",     2, "Invalid value for '--overlay'"),
    ("simulate --detector clic-ecal --like overlaid.h5 -o out.h5",                    2, "--like: expected particles of e-, "),
    ("generate clic-ecal --like overlaid.h5 -o out.h5",                               2, "particle: model copula was trained on e-, got several particles"),
    ("generate clic-ecal --events 2 --energy 10 --overlay 0 -o out.h5",               2, "Invalid value for '--overlay'"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --phi 400 -o out.h5",      2, "--phi: expected -360 to 360 degrees, got 400"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --phi log:1:2 -o out.h5",  2, "--phi: expected a:b or a,b,c with numbers"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --impact 3 -o out.h5",     2, "--impact: expected X,Y in mm, a:b for a square, or a:b,c:d, got '3'"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --impact 0,99 -o out.h5",  2, "--impact: expected y on the read-out image of clic-ecal, -63.75 to 63.75 mm"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --particle electron -o out.h5", 2, "--particle: expected e-, e+, gamma, mu-,"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --particle e-,pi- -o out.h5",   2, "--particle pi-: hadrons need Geant4's official data sets"),
    ("simulate --detector clic-ecal --events 2 --energy 1e-30 -o out.h5", 2, "--energy: expected at least 1e-06 GeV (1 keV), got 1e-30"),
    ("simulate --detector clic-ecal --events 2 --energy 10 -o out.pkl",  2, "out.pkl: showers are not written as .pkl"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --workers 0 -o out.h5",    2, "Invalid value for '--workers'"),
    ("simulate --detector clic-ecal --events 2 --energy 10 --physics-data none -o out.h5", 2, "none"),
    ("simulate --detector clic-ecal --events 2 --energy 10 -o none/out.h5", 2, "none/out.h5: the folder none does not exist"),
    ("simulate --detector none --events 2 --energy 10 -o out.h5",        2, "detector 'none': expected one of"),
    ("simulate --detector text.yaml --events 2 --energy 10 -o out.h5",   2, "text.yaml, line 1"),

    ("train",                                                   2, "Missing option '--output'"),
    ("train --out out",                                         2, "--data: expected one or more shower files"),
    ("train --out out --data none.h5",                          2, "none.h5: no such file"),
    ("train --out out --data text.h5",                          1, "text.h5: not an HDF5 file"),
    ("train --out out --data nan.h5",                           1, "nan.h5: field showers"),
    ("train --out out --data clic.h5",                          1, "clic.h5"),
    ("train --out out --data core.h5 none.h5",                  2, "none.h5: no such file"),
    ("train --out out --data core.h5 --data good.h5",           2, "good.h5"),
    ("train --out out --data core.h5 --model nosuch",           2, "setting model: expected one of copula"),
    ("train --out out --data core.h5 --set bath_size=3",        2, "setting bath_size"),
    ("train --out out --data core.h5 --set batch_size=0",       2, "setting batch_size"),
    ("train --out out --data core.h5 --set batch_size",         2, "--set batch_size: expected name=value"),
    ("train --out out --data core.h5 --set energy=5:1",         2, "setting energy: the lower bound"),
    ("train --out out --data core.h5 --set energy=900:901",     2, "setting energy: 900:901 GeV: 0 showers, expected at least 3"),
    ("train --out out --data core.h5 --set augment=[spin]",     2, "spin"),
    ("train --out out --data core.h5 --set augment=[rotate-phi]", 2, "rotate-phi"),
    ("train --out out --data core.h5 --config none.yaml",       2, "none.yaml: no such file"),
    ("train --out out --data core.h5 --config text.yaml",       2, "text.yaml: expected a mapping"),
    ("train --out out --data core.h5 --init-from folder",       2, "folder: expected a run folder"),
    ("train --out out --data core.h5 --init-from none",          2, "--init-from none: no such file or folder"),
    ("train --out out --data core.h5 --init-from none.hdf5",     2, "--init-from none.hdf5: no such file or folder"),
    ("train --out out --data core.h5 core.h5",                  2, "core.h5: holds the same showers as core.h5"),
    ("train --out out --data core.h5 folder/../core.h5",        2, "holds the same showers as core.h5"),
    ("train --out out --data core.h5 --set epoch=3",            2, "setting epoch: copula has no such setting; did you mean epochs?"),
    ("train --out out --data none.h5 --set objective.angle=3",  2, "none.h5: no such file"),
    ("train --out out --data core.h5 --set objective.angle=3",  2, "setting objective.angle: copula has no such setting, only 3dgan-angle, 3dgan-angle-x16"),
    ("train --out out --data no-showers.h5",                    2, "data: 0 showers, expected at least 3"),
    ("train --out out --data two-showers.h5",                   2, "data: 2 showers, expected at least 3"),
    ("train --out out --data no-hits.h5",                       2, "data: no shower to train on has a deposit"),
    ("train --out out --data core.h5 --init-from text.h5",      1, "text.h5"),
    ("train --out out --data core.h5 --resume",                 2, "out: nothing to resume"),
    ("train --out folder --data core.h5 --resume",              2, "folder: nothing to resume"),
    ("train --out core.h5 --data core.h5",                      2, "core.h5: expected a folder"),
    ("train --out model --data core.h5",                        2, "model: is not empty"),

    ("generate",                                                2, "Missing argument 'MODEL'"),
    ("generate model -o out.h5",                                2, "--events and --energy: both are needed"),
    ("generate model --events 2 -o out.h5",                     2, "--events and --energy: both are needed"),
    ("generate model --events 0 --energy 10 -o out.h5",         2, "Invalid value for '--events'"),
    ("generate model --events 2 --energy ten -o out.h5",        2, "--energy: expected a:b"),
    ("generate model --events 2 --energy 10 --theta 60:120 -o out.h5", 2, "does not follow theta, got 60 to 120 degrees"),
    ("generate model --events 2 --energy 10 --particle gamma -o out.h5",  2, "particle: model 3dgan was trained on e-, got gamma"),
    ("generate model --events 2 --energy 10 --particle photon -o out.h5", 2, "--particle: expected e-, e+, gamma,"),
    ("generate model --events 2 --energy 10 --phi 500 -o out.h5",         2, "--phi: expected -360 to 360 degrees, got 500 to 500"),
    ("generate model --events 2 --energy 10 --impact 0,0 -o out.h5",      2, "--impact: model 3dgan draws impact points as in its training"),
    ("generate model --events 2 --energy 10 --impact 0 -o out.h5",        2, "--impact: expected X,Y in mm, a:b for a square"),
    ("generate model --events 2 --energy 1e-30 -o out.h5",      2, "energy: expected 1e-06 to 1e+06 GeV, got 1e-30"),
    ("generate model --events 2 --energy 1e30 -o out.h5",       2, "energy: expected 1e-06 to 1e+06 GeV, got 1e+30"),
    ("generate model --events 2 --energy 10 --theta 190 -o out.h5", 2, "theta: expected angles between 0 and 180 degrees, got 190"),
    ("generate model --events 2 --energy 10 -o out.txt",        2, "out.txt: showers are not written as .txt; expected out.h5"),
    ("generate model --events 2 --energy 10 -o out.prquet",     2, "out.prquet: showers are not written as .prquet"),
    ("generate model --events 2 --energy 10 --batch 0 -o out.h5",      2, "Invalid value for '--batch'"),
    ("generate model --events 2 --energy 10 --engine cuda -o out.h5",  2, "Invalid value for '--engine'"),
    ("generate model --events 2 --energy 10 -o none/out.h5",    2, "none/out.h5: the folder none does not exist"),
    ("generate model --like none.h5 -o out.h5",                 2, "none.h5: no such file"),
    ("generate model --like good.h5 --energy 10 -o out.h5",     2, "--like: takes all conditions from the file"),
    ("generate model --like core.h5 -o core.h5",                2, "core.h5: the output would replace an input"),
    ("generate none --events 2 --energy 10 -o out.h5",          2, "model 'none': expected"),
    ("generate folder --events 2 --energy 10 -o out.h5",        2, "folder: expected a run folder"),
    ("generate damaged --events 2 --energy 10 -o out.h5",       1, "damaged/model.safetensors: the checksum"),

    ("validate core.h5 -o report",                              2, "Missing argument 'CANDIDATE.h5...'"),
    ("validate core.h5 none.h5 -o report",                      2, "none.h5: no such file"),
    ("validate core.h5 good.h5 -o report",                      2, "good.h5"),
    ("validate core.h5 nan.h5 -o report",                       2, "nan.h5"),
    ("validate good.h5 nan.h5 -o report",                       1, "nan.h5: field showers"),
    ("validate core.h5 core.h5 -o folder/none/report",          2, "folder/none"),
    ("validate core.h5 core.h5 -o model",                       2, "model"),
    ("validate core.h5 core.h5 -o report --labels one",         2, "labels: expected 2"),
    ("validate core.h5 core.h5 core.h5 -o report --labels a b", 2, "labels: expected 3"),
    ("validate core.h5 core.h5 -o report --requirements no",    2, "no: no such file"),
    ("validate core.h5 core.h5 -o report --training none.h5",   2, "none.h5: no such file"),
    ("validate core.h5 core.h5 -o report --training good.h5",   2, "same grid"),

    ("models --detector none",                                  2, "detector 'none': expected one of"),

    ("bench",                                                   2, "Missing argument"),
    ("bench speed",                                             2, "'speed'"),
    ("bench loader --minutes 0",                                2, "--minutes"),
    ("bench loader -o none/out.json",                           2, "none/out.json: the folder none does not exist"),
    ("bench loader --data none.h5",                             2, "none.h5: no such file"),
    ("demo --minutes 0",                                        2, "Invalid value for '--minutes'"),
    ("demo --out model",                                        2, "model: expected an empty or new folder"),
)
# fmt: on


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files that the rows name. Nobody may change them, and nothing may join them."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "empty.h5").touch()
    (folder / "text.h5").write_text("no showers\n")
    (folder / "text.yaml").write_text("no detector\n")
    (folder / "binning.xml").write_text(binning_xml((22, "photon", PHOTON_LAYERS)))
    (folder / "entity.xml").write_text('<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]><Bins>&e;</Bins>')

    cf.write(folder / "good.h5", random_showers(5))
    cf.write(folder / "overlaid.h5", random_showers(4).overlaid(2))
    content = (folder / "good.h5").read_bytes()
    (folder / "truncated.h5").write_bytes(content[: len(content) // 2])
    (folder / "nan.h5").write_bytes(content)
    with h5py.File(folder / "nan.h5", "r+") as file:
        file["showers"][2, 1, 2, 3] = np.nan
    (folder / "units.h5").write_bytes(content)
    with h5py.File(folder / "units.h5", "r+") as file:
        file["showers"].attrs["units"] = "GeV"

    core = Grid("core", (9, 9, 11))
    cf.write(folder / "no-showers.h5", random_showers(2, core)[:0])
    cf.write(folder / "two-showers.h5", random_showers(2, core))
    cf.write(folder / "no-hits.h5", random_showers(20, core, occupancy=0))
    showers = random_showers(20, core)
    normal = np.full(len(showers), np.pi / 2, np.float32)
    cf.write(folder / "core.h5", replace(showers, incident_theta=normal))
    card = ModelCard("3dgan", core, 0.001, (1e3, 500e3), (np.pi / 2, np.pi / 2))
    for name in ("model", "damaged"):
        (folder / name).mkdir()
        save_model(folder / name, card.build(), card)
    weights = folder / "damaged" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    write_clic(folder / "clic.h5")
    write_clic(folder / "negative.h5")
    with h5py.File(folder / "negative.h5", "r+") as file:
        file["ECAL"][1, 3, 4, 5] = -0.5
    write_clic_angle(folder / "angle.h5", 1)
    write_lemurs(folder / "lemurs.h5")
    write_calochallenge(folder / "photons.h5", 368)
    with h5py.File(folder / "other.h5", "w") as file:
        file["images"] = np.zeros((2, 3))
    return folder


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Tell every file's size and time of change."""
    stats = {path: path.lstat() for path in folder.rglob("*")}
    return {str(path): (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


@pytest.mark.parametrize(("command", "code", "words"), ROWS, ids=[row[0] for row in ROWS])
def test_wrong_use_is_told_in_one_line_and_leaves_no_file(
    command: str,
    code: int,
    words: str,
    place: Path,
    tmp_path: Path,
    caloforge: Caloforge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
    before = contents(place)
    caloforge(*shlex.split(command)).refused(code, words)
    assert contents(place) == before


def test_enough_ways_to_go_wrong_are_covered() -> None:
    assert len({row[0] for row in ROWS}) == len(ROWS) >= 30


def test_no_command_shows_what_there_is(caloforge: Caloforge) -> None:
    ran = caloforge()
    assert (ran.code, ran.err) == (0, "")
    assert "inspect" in ran.out


def test_the_version_is_told(caloforge: Caloforge) -> None:
    ran = caloforge("--version")
    assert (ran.code, ran.out) == (0, f"caloforge {cf.__version__}\n")


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "code"), [(["inspect", "none.h5"], 2), (["inspect", "text.h5"], 1)]
)
def test_the_process_itself_ends_with_one_line(place: Path, arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "caloforge", *arguments]
    ran = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert ran.stdout == ""
    assert ran.stderr.startswith("caloforge: ")
    assert ran.stderr.count("\n") == 1


@pytest.mark.process
def test_a_name_that_is_not_utf8_is_shown_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"sh\xffwers.h5")
    cf.write(tmp_path / name, random_showers(2))
    command = [sys.executable, "-m", "caloforge", "inspect", name]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "sh\\udcffwers.h5" in ran.stdout
    ran = subprocess.run([*command, "--none"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2


@pytest.mark.process
def test_a_reader_that_goes_away_ends_the_command_quietly(place: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m caloforge inspect good.h5 | true"
    ran = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


# The command line, which a signal reaches once the first showers are written.
STOPPED_HALFWAY = """
import os, sys
from caloforge.cli.main import main
from caloforge.files.shower_writer import ShowerWriter

number, append = int(sys.argv.pop(1)), ShowerWriter.append

def then_stopped(writer, showers):
    append(writer, showers)
    os.kill(os.getpid(), number)

ShowerWriter.append = then_stopped
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_conversion_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file.create_dataset("ECAL", data=np.zeros((400, 25, 25, 25), "f4"), compression="gzip")
        file["target"] = np.full((400, 2), 50.0)
    command = [
        sys.executable,
        "-c",
        STOPPED_HALFWAY,
        str(int(number)),
        "convert",
        "in.h5",
        "-o",
        "out.h5",
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 130
    # On a busy machine lines of progress come first.
    assert ran.stderr.splitlines()[-1] == "caloforge: interrupted"
    assert "Traceback" not in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"]
