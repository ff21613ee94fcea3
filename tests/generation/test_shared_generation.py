"""Several ranks generate one file: that of one process, and nothing beside it."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch
from commands import Caloforge, Ran
from launchers import mpiexec

from caloforge.detector import Grid
from caloforge.files import rank_merge
from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.foundations.units import GEV, Spectrum
from caloforge.generation.condition_source import drawn
from caloforge.generation.sampler import Generator, generate_file, load
from caloforge.models.saved import ModelCard, save_model

# 8 layers of 16x16 cells: 128 showers fill one packed chunk of a file.
GRID = Grid("small", (16, 16, 8), threshold_MeV=0.001)
ENERGY = Spectrum("uniform", (10 * GEV, 500 * GEV))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    card = ModelCard("3dgan", GRID, 1.0, (10e3, 500e3), (math.pi / 2, math.pi / 2))
    save_model(folder, card.build(), card)
    return folder


@pytest.fixture(scope="module")
def generator(run: Path) -> Generator:
    return load(run)


def make(generator: Generator, path: Path, count: int, batch: int, ranks: Ranks = ALONE) -> None:
    generate_file(generator, drawn(count, ENERGY, None, 1), path, seed=1, batch=batch, ranks=ranks)


def content(path: Path) -> dict[str, object]:
    with h5py.File(path) as file:
        columns = {name: (file[name][:].tobytes(), dict(file[name].attrs)) for name in file}
        return {**columns, **{name: str(value) for name, value in file.attrs.items()}}


# Parts whose chunks meet, parts that must be unpacked, fewer batches than ranks, a short last batch.
@pytest.mark.parametrize(
    ("count", "batch", "world"), [(512, 128, 2), (300, 128, 3), (50, 7, 4), (20, 16, 3), (3, 16, 2)]
)
def test_ranks_make_the_file_of_one_process(
    generator: Generator, tmp_path: Path, count: int, batch: int, world: int
) -> None:
    make(generator, tmp_path / "alone.h5", count, batch)
    for rank in reversed(range(world)):  # only the first waits, and here for nobody
        make(generator, tmp_path / "s.h5", count, batch, Ranks(rank, world, rank, world, "job"))
        assert (tmp_path / "s.h5").exists() == (rank == 0)
    assert content(tmp_path / "s.h5") == content(tmp_path / "alone.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.h5", "s.h5"]


def test_a_rank_that_never_comes_leaves_nothing_under_the_name(
    generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_merge, "MEETING_S", 0.1)
    make(generator, tmp_path / "s.h5", 20, 4, Ranks(2, 3, 2, 3, "job"))
    with pytest.raises(CaloforgeError, match="rank 1 of 3 did not come"):
        make(generator, tmp_path / "s.h5", 20, 4, Ranks(0, 3, 0, 3, "job"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_mpirun_ends_with_one_file_and_one_voice(
    run: Path, tmp_path: Path, caloforge: Caloforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = f"generate {run} --events 64 --energy 10:600 --batch 8 --seed 1 -o".split()
    alone = caloforge(*arguments, "alone.h5")
    command = [*mpiexec(2), sys.executable, "-m", "caloforge", *arguments, "two.h5"]
    two = subprocess.run(command, capture_output=True, text=True, check=False)
    for done in (alone, Ran(two.returncode, two.stdout, two.stderr)):
        assert done.code == 0, done.err
        assert done.out.count("showers/s") == 1
        assert done.err.count("extrapolation") == 1
        assert len(re.findall("generate: 64/64", done.err)) == 1
    assert content(tmp_path / "two.h5") == content(tmp_path / "alone.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.h5", "two.h5"]
