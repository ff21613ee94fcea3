"""The templates for clusters: their commands are ours, and what can run here runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import PATIENCE_S
from launchers import put_srun
from typer.main import get_command

from caloforge.cli.main import app
from caloforge.files.shower_file import ShowerFile, read
from caloforge.files.shower_writer import write

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "templates"
SCRIPTS = sorted(TEMPLATES.glob("*.sh"))
SLURM = [path for path in SCRIPTS if path.name.startswith("slurm")]
GROUP: Any = get_command(app)


def parse(line: list[str]) -> None:
    """Require that our command line takes these arguments; click raises for those it does not know."""
    name, *arguments = line
    with typer.Context(GROUP, info_name="caloforge") as context:
        command = GROUP.get_command(context, name)
        assert command is not None, line
        parsed = command.make_context(name, arguments, parent=context)
        if name == "launch":
            parse([parsed.params["command"], *parsed.args])


def program(folder: Path, name: str, code: int = 0) -> Path:
    """Write a program that notes its arguments, a line a call, and ends with ``code``.

    Two processes may call it at once: each line is one write.
    """
    folder.mkdir(exist_ok=True)
    noted = folder.parent / f"{name}.called"
    (folder / name).write_text(
        f'#!/bin/bash\nline=$(printf \'%q \' "$@")\necho "$line" >>{noted}\nexit {code}\n'
    )
    (folder / name).chmod(0o755)
    return noted


def run(
    script: Path, folder: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *arguments],
        cwd=folder,
        env={**os.environ, "SLURM_JOB_ID": "7", **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.process
@pytest.mark.parametrize("script", SLURM, ids=lambda path: path.name)
@pytest.mark.parametrize("code", [0, 1, 130])
def test_slurm_scripts_call_us_and_queue_again_what_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Path, code: int
) -> None:
    put_srun(tmp_path / "bin", monkeypatch)
    called = program(tmp_path / "bin", "caloforge", code)
    requeued = program(tmp_path / "bin", "scontrol")
    done = run(script, tmp_path, SLURM_NTASKS_PER_NODE="1", SLURM_NNODES="2")
    lines = [shlex.split(line) for line in called.read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        parse(line)
    assert done.returncode == (0 if code == 130 else code), done.stderr
    assert requeued.exists() == (code == 130)
    if code == 130:
        assert requeued.read_text().split() == ["requeue", "7"]


@pytest.mark.parametrize("script", SLURM, ids=lambda path: path.name)
def test_slurm_scripts_ask_for_what_they_need(script: Path) -> None:
    asked = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", script.read_text(), re.MULTILINE)
    names = dict(asked)
    assert len(asked) == script.read_text().count("#SBATCH")
    # The step's processes get the signal, not the script ("B:"), which would not hand it on.
    assert re.fullmatch(r"TERM@\d+", names["signal"])
    assert {"nodes", "ntasks-per-node", "time", "requeue"} <= names.keys()
    assert names["open-mode"] == "append"


@pytest.mark.process
def test_the_slurm_job_on_cpus_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_srun(tmp_path / "bin", monkeypatch)
    write(tmp_path / "showers.h5", read(ROOT / "src/caloforge/data/clic-ecal-test.h5")[:24])
    done = run(
        TEMPLATES / "slurm-cpu.sh",
        tmp_path,
        SLURM_NNODES="2",
        WORKERS="1",
        SETTINGS="--set max_steps=1 --set batch_size=4 --set validation_fraction=0.25",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.json").exists()
    # Of 18 showers to train on, two workers take 4 each a step.
    check = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert check["epoch"] == pytest.approx(1 / 3)


@pytest.mark.geant4
def test_the_slurm_job_of_geant4_simulates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_srun(tmp_path / "bin", monkeypatch)
    done = run(
        TEMPLATES / "slurm-simulate.sh",
        tmp_path,
        SLURM_NNODES="1",
        SLURM_NTASKS_PER_NODE="2",
        SHOWERS="--detector pbwo4 --events 6 --energy 2:5",
        CALOFORGE_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("physics:") == 1
    with ShowerFile(tmp_path / "showers.h5") as file:
        assert len(file) == 6


@pytest.mark.process
def test_a_training_started_again_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = program(tmp_path / "bin", "caloforge")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    arguments = ("run", "train", "--data", "a.h5", "b c.h5")
    run(TEMPLATES / "train-or-resume.sh", tmp_path, *arguments)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    run(TEMPLATES / "train-or-resume.sh", tmp_path, *arguments)
    lines = [shlex.split(line) for line in called.read_text().splitlines()]
    assert lines == [
        ["train", "--data", "a.h5", "b c.h5", "-o", "run"],
        ["train", "--data", "a.h5", "b c.h5", "-o", "run", "--resume"],
    ]


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.sub")), ids=lambda path: path.name)
def test_condor_jobs_call_us(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[-1].split()[0] == "queue"
    job = dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines[:-1])
    arguments = shlex.split(job["arguments"].replace("$(Process)", "3"))
    if job["executable"] == "$(caloforge)":
        assert job["caloforge"] == "$ENV(VIRTUAL_ENV)/bin/caloforge"
        assert job["transfer_executable"] == "false"
        parse(arguments)
    else:
        script = ROOT / job["executable"]
        assert os.access(script, os.X_OK)
        out, *command = arguments
        parse([*command, "--out", out])
    # What an eviction stops is started again.
    assert job["kill_sig"] == "SIGTERM"
    assert "ExitCode =!= 130" in job["on_exit_remove"]


def test_the_image_holds_what_the_build_needs() -> None:
    text = (TEMPLATES / "apptainer.def").read_text()
    parts = re.split(r"^%(\w+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert sections.keys() == {"files", "post", "environment", "runscript", "test"}
    copied = dict(line.split() for line in sections["files"].splitlines() if line.strip())
    assert all((ROOT / name).exists() for name in copied)
    # hatchling reads these for the wheel.
    assert copied.keys() == {"pyproject.toml", "README.md", "LICENSE", "src"}
    for name in ("post", "environment", "runscript", "test"):
        subprocess.run(["bash", "-n"], input=sections[name], text=True, check=True)


VALUES = {
    "DETECTOR": "clic-ecal",
    "ENERGY": "10:500",
    "MODEL": "3dgan",
    "TRAINING": "epochs=25",
    "params.events": "10",
    "params.seed": "1",
    "threads": "4",
    "input": "a.h5 b.h5",
    "input.like": "a.h5",
    "output": "out",
}


def test_the_rules_of_the_snakefile_call_us() -> None:
    text = (TEMPLATES / "Snakefile").read_text()
    shells = re.findall(r"    shell:\n((?: +\"[^\"]*\"\n)+)", text)
    assert len(shells) == text.count("shell:") == 4
    for shell in shells:
        line = "".join(re.findall(r'"([^"]*)"', shell))
        line = re.sub(r"\{([\w.]+)\}", lambda found: VALUES[found[1]], line)
        line = re.sub(r"\$\(.*--resume\)", "--resume", line)
        name, *arguments = shlex.split(line)
        assert name == "caloforge"
        parse(arguments)


@pytest.mark.process
def test_snakemake_plans_the_chain(tmp_path: Path) -> None:
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed")
    command = [snakemake, "-n", "-s", str(TEMPLATES / "Snakefile"), "--cores", "2"]
    plan = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert plan.returncode == 0, plan.stderr
    told = plan.stdout + plan.stderr
    assert [f"rule {name}:" in told for name in ("simulate", "train", "generate", "validate")] == [
        True
    ] * 4


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert os.access(script, os.X_OK)
    shellcheck = shutil.which("shellcheck")
    if shellcheck is not None:
        subprocess.run([shellcheck, str(script)], check=True)
