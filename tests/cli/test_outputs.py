"""What another command made is not replaced unasked; the same command, repeated, goes on as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import Caloforge
from shower_samples import random_showers, write_lemurs

import caloforge as cf
from caloforge.files import shower_writer
from caloforge.foundations.errors import CaloforgeError

GENERATE = ("generate", "clic-ecal", "--energy", "20", "--streams", "1")


def test_showers_of_another_command_stay(caloforge: Caloforge, tmp_path: Path) -> None:
    out = tmp_path / "showers.h5"
    assert caloforge(*GENERATE, "--events", 3, "-o", out).code == 0
    before = out.read_bytes()
    caloforge(*GENERATE, "--events", 1, "-o", out).refused(
        2, "showers.h5: exists", "--overwrite replaces"
    )
    assert out.read_bytes() == before
    for spelling in (("-o", out, "--json"), ("--out", out), (f"--output={out}",)):  # the same showers
        assert caloforge(*GENERATE, "--events", 3, *spelling).code == 0
    assert len(cf.read(out)) == 3
    assert caloforge(*GENERATE, "--events", 1, "-o", out, "--overwrite").code == 0
    assert len(cf.read(out)) == 1


@pytest.mark.parametrize("content", [b"", b"notes", b"\x89HDF\r\n\x1a\n"])
def test_somebody_s_file_stays(caloforge: Caloforge, tmp_path: Path, content: bytes) -> None:
    lemurs, binning = tmp_path / "lemurs.h5", tmp_path / "mine"
    write_lemurs(lemurs)
    binning.write_bytes(content)
    for command in (
        ("simulate", "--detector", "clic-ecal", "--events", 1, "--energy", "1"),
        (*GENERATE, "--events", 1),
        ("convert", lemurs),
        ("bench", "loader"),
    ):
        caloforge(*command, "-o", binning).refused(2, "mine: exists, and another command made it")
        assert binning.read_bytes() == content


@pytest.mark.parametrize("suffix", [".root", ".parquet", ".csv"])
def test_hits_are_replaced_by_the_command_that_made_them(
    caloforge: Caloforge, tmp_path: Path, suffix: str
) -> None:
    source, out = tmp_path / "a.h5", tmp_path / f"hits{suffix}"
    cf.write(source, random_showers(2))
    assert caloforge("convert", source, "-o", out).code == 0
    again = caloforge("convert", source, "-o", out)
    if suffix == ".csv":  # holds no provenance
        again.refused(2, "hits.csv: exists", "--overwrite replaces")
    else:
        assert again.code == 0, again.err
    before = out.read_bytes()
    cf.write(tmp_path / "b.h5", random_showers(3))
    caloforge("convert", tmp_path / "b.h5", "-o", out).refused(2, f"hits{suffix}: exists")
    assert out.read_bytes() == before
    out.write_bytes(b"notes")
    caloforge("convert", source, "-o", out).refused(2, f"hits{suffix}: exists")
    assert out.read_bytes() == b"notes"


def test_showers_that_python_wrote_stay(caloforge: Caloforge, tmp_path: Path) -> None:
    shower_writer.write(tmp_path / "mine.h5", random_showers(2))
    caloforge(*GENERATE, "--events", 1, "-o", tmp_path / "mine.h5").refused(2, "exists")
    assert len(cf.read(tmp_path / "mine.h5")) == 2


def test_a_result_of_another_benchmark_stays(caloforge: Caloforge, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    command = ("bench", "loader", "--minutes", "0.01", "-o", out)
    for _ in range(2):
        assert caloforge(*command).code == 0
    caloforge(*command, "--seed", 2).refused(2, "result.json: exists")
    assert json.loads(out.read_text())["seed"] == 1


def test_another_report_stays(
    caloforge: Caloforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("catalogue", "displays"):
        monkeypatch.setattr(f"caloforge.report.plots.catalogue.{name}", lambda *_: [])
    for seed, name in enumerate(("a", "b", "c")):
        shower_writer.write(tmp_path / f"{name}.h5", random_showers(4, seed=seed))
    out = tmp_path / "report"

    def command(candidate: str, *more: str) -> tuple[object, ...]:
        return (
            "validate",
            tmp_path / "a.h5",
            tmp_path / f"{candidate}.h5",
            "-o",
            out,
            "--only",
            "numbers",
            *more,
        )

    assert caloforge(*command("b")).code == 0
    said = (out / "command.txt").read_text()
    assert said.startswith("caloforge validate ")
    caloforge(*command("c")).refused(2, "report: another command made this report")
    assert (out / "command.txt").read_text() == said
    (out / "mine.txt").touch()
    caloforge(*command("c", "--overwrite")).refused(2, "it holds other files")
    (out / "mine.txt").unlink()
    assert caloforge(*command("c", "--overwrite")).code == 0
    assert (out / "command.txt").read_text() != said


@pytest.mark.training
def test_another_run_stays(caloforge: Caloforge, small_showers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def command(seed: int, *more: str) -> tuple[object, ...]:
        settings = ("max_steps=1", "batch_size=8", "check_showers=4", f"seed={seed}")
        options = [part for setting in settings for part in ("--set", setting)]
        return ("train", "--model", "mixer", "--data", small_showers, "--out", run, *options, *more)

    assert caloforge(*command(1)).code == 0
    model = (run / "model.safetensors").read_bytes()
    caloforge(*command(2)).refused(
        2, "is not empty; --resume continues a run, --overwrite begins it anew"
    )
    for name in ("mine.txt", "config.yaml.bak", "checkpoints/best.safetensors"):
        (run / name).touch()
        caloforge(*command(2, "--overwrite")).refused(2, f"expected a run to overwrite, it holds {name}")
        (run / name).unlink()
    assert (run / "model.safetensors").read_bytes() == model
    assert caloforge(*command(2, "--overwrite")).code == 0
    assert (run / "model.safetensors").read_bytes() != model
    assert "seed: 2" in (run / "config.yaml").read_text()


def test_an_earlier_demo_stays_and_so_does_a_folder_of_other_files(
    caloforge: Caloforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(*_: object, **__: object) -> None:
        raise CaloforgeError("the demo has begun")

    monkeypatch.setattr("caloforge.demo.simulate", begun)
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "generated.h5").touch()
    caloforge("demo", "-o", folder).refused(
        2, "demo: expected an empty or new folder", "--overwrite replaces"
    )
    assert "the demo has begun" in caloforge("demo", "-o", folder, "--overwrite").err
    (folder / "mine").touch()
    caloforge("demo", "-o", folder, "--overwrite").refused(2, "demo: expected an empty or new folder")
    assert sorted(path.name for path in folder.iterdir()) == ["generated.h5", "mine"]
