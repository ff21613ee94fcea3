"""``caloforge validate`` as a user meets it: results on stdout, one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PATIENCE_S, Caloforge, wait_until
from shower_samples import random_showers, write_core

from caloforge.detector import Grid
from caloforge.files import shower_writer


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Shower files that fit each other, and ones that do not."""
    samples = {
        "small": random_showers(4),
        "other": random_showers(4, seed=2),
        "wide": random_showers(4, Grid("wide", (5, 5, 5))),
        "round": random_showers(4, Grid("round", (3, 4, 5), ("r", "phi", "layer"))),
        "none": random_showers(4)[:0],
        "one": random_showers(1),
    }
    paths = {name: tmp_path / f"{name}.h5" for name in samples}
    for name, showers in samples.items():
        shower_writer.write(paths[name], showers)
    whole = paths["small"].read_bytes()
    paths["cut"] = tmp_path / "cut.h5"
    paths["cut"].write_bytes(whole[: len(whole) // 2])
    paths["absent"] = tmp_path / "absent.h5"
    return paths


@pytest.mark.parametrize(
    ("reference", "candidate", "code", "words"),
    [
        ("small", "wide", 2, ("same grid", "small.h5", "[3, 4, 5]", "wide.h5", "[5, 5, 5]")),
        ("small", "round", 2, ("same grid", "'x', 'y', 'z'", "'r', 'phi', 'layer'")),
        ("small", "none", 1, ("none.h5", "showers", "at least 2", "found 0")),
        ("one", "small", 1, ("one.h5", "showers", "at least 2", "found 1")),
        ("small", "absent", 2, ("absent.h5", "no such file")),
        ("cut", "small", 1, ("cut.h5",)),
    ],
)
def test_files_that_cannot_be_compared_are_named_in_one_line(
    caloforge: Caloforge,
    files: dict[str, Path],
    tmp_path: Path,
    reference: str,
    candidate: str,
    code: int,
    words: tuple[str, ...],
) -> None:
    ran = caloforge("validate", files[reference], files[candidate], "-o", tmp_path / "report")
    ran.refused(code, *words)
    assert not (tmp_path / "report").exists()


def test_wrong_use_is_told_in_one_line(
    caloforge: Caloforge, files: dict[str, Path], tmp_path: Path
) -> None:
    pair = (files["small"], files["other"])
    caloforge("validate", *pair, "-o", tmp_path).refused(2, "holds other files")
    caloforge("validate", *pair, "-o", files["small"]).refused(2, "this is a file")
    caloforge("validate", *pair, "-o", tmp_path / "a" / "b").refused(2, "does not exist")
    out = tmp_path / "report"
    caloforge("validate", *pair, "-o", out, "--labels", "same", "same").refused(2, "labels", "different")
    caloforge("validate", *pair, "-o", out, "--labels", "one").refused(2, "labels: expected 2")
    caloforge("validate", *pair).refused(2, "-o")
    caloforge("validate", files["small"], "-o", out).refused(2, "CANDIDATE")
    assert not out.exists()


@pytest.mark.long
@pytest.mark.usefixtures("few_plots")
def test_json_is_the_metrics_and_where_the_report_is(
    caloforge: Caloforge, files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "report"
    ran = caloforge(
        "validate",
        files["small"],
        files["other"],
        "-o",
        out,
        "--labels",
        "Geant4",
        "3D GAN",
        "--json",
    )
    assert ran.code == 0, ran.err
    printed = json.loads(ran.out)
    assert printed.pop("report") == str(out / "report.html")
    assert printed == json.loads((out / "metrics.json").read_text())
    assert printed["n_plots"] == len(list((out / "plots").glob("*.png")))
    assert "3D GAN" in (out / "report.html").read_text()
    assert "validate: 100 %" in ran.err


def test_the_table_is_the_verdict(
    caloforge: Caloforge, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("catalogue", "displays"):
        monkeypatch.setattr(f"caloforge.report.plots.catalogue.{name}", lambda *_: [])
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.chdir(tmp_path)
    ran = caloforge("validate", "small.h5", "other.h5", "small.h5", "-o", "report", "--only", "numbers")
    assert ran.code == 0, ran.err
    for words in (
        "candidate 1: 4 showers against 4",
        "candidate 2: 4 showers against 4",
        "Response",
        "within 1 %",
        "undecided",
        "undefined",
    ):
        assert words in ran.out
    assert ran.out.splitlines()[-1] == "report/report.html"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "candidate 2" in page


MEASURED = "{metric: n_candidate, at_least: 3}"
FAILED = "{metric: n_candidate, at_least: 5}"
UNDECIDED = "{metric: auc.low, at_most: 0.6}"
"""Four showers have no classifier."""


@pytest.mark.parametrize(
    ("requirements", "require", "require_decided"),
    [
        ((MEASURED,), 0, 0),
        ((MEASURED, UNDECIDED), 0, 1),
        ((MEASURED, FAILED), 1, 1),
        ((FAILED, UNDECIDED), 1, 1),
    ],
    ids=["met", "undecided", "failed", "both"],
)
def test_exit_codes_tell_what_is_failed_and_what_is_undecided(
    caloforge: Caloforge,
    files: dict[str, Path],
    tmp_path: Path,
    requirements: tuple[str, ...],
    require: int,
    require_decided: int,
) -> None:
    """The report is there in any case, and one line on stderr counts what is wrong."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("requirements:\n" + "".join(f"- {line}\n" for line in requirements))
    failed, undecided = requirements.count(FAILED), requirements.count(UNDECIDED)
    for name, options, code in (
        ("none", (), 0),
        ("require", ("--require",), require),
        ("decided", ("--require-decided",), require_decided),
        ("both", ("--require", "--require-decided"), require_decided),
    ):
        out = tmp_path / name
        pair = (files["small"], files["other"])
        ran = caloforge(
            "validate", *pair, "-o", out, "--only", "numbers", *options, "--requirements", mine
        )
        assert ran.code == code, ran.err
        assert f"{failed} failed, {undecided} undecided, " in ran.out
        said = f"report.html: requirements: {failed} failed, {undecided} undecided"
        assert (said in ran.err) == (code == 1)
        stored = json.loads((out / "metrics.json").read_text())["requirements"]
        assert [entry["state"] for entry in stored].count("failed") == failed
        assert not (out / "plots").exists()


@pytest.mark.process
def test_ctrl_c_while_drawing_leaves_nothing_behind(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A real process, its workers included, interrupted as a terminal does: the whole group at once."""
    showers = str(write_core(tmp_path_factory.mktemp("showers") / "core.h5", 40))  # too few to classify
    command = [sys.executable, "-m", "caloforge", "validate", showers, showers, "-o"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "report")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: process.poll() is not None or list(tmp_path.glob(".report.*/plots/*.png")))
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert out == ""
    assert [line for line in err.splitlines() if not line.startswith("validate: ")] == [
        "caloforge: interrupted"
    ]
    assert list(tmp_path.iterdir()) == []
