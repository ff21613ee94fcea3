"""The command under torchrun, mpirun and srun: it trains the same, says one thing, and outlives its workers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from launchers import mpirun, rank_processes, srun, torchrun

from caloforge.io.tensors import load_tensors
from caloforge.training.checkpoint import checkpoints

SETTINGS = ["batch_size=4", "check_showers=4", "checkpoint_every_steps=3", "validation_fraction=0.15"]
STEPS = 12


def arguments(data: Path, run: Path, *settings: str) -> list[object]:
    chosen = [f"--set={setting}" for setting in (*SETTINGS, *settings)]
    return ["train", "--data", data, "--out", run, *chosen]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_tensors(checkpoints(run / "checkpoints")[-1])[0]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def wait_for_lines(run: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        metrics = run / "metrics.jsonl"
        if metrics.exists() and len(metrics.read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {count} lines within a minute")


def lines_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(small_showers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training by two workers of srun."""
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    results = [
        ended(process) for process in srun(2, *arguments(small_showers, run, f"max_steps={STEPS}"))
    ]
    assert [code for code, _, _ in results] == [0, 0], results
    assert [bool(out) for _, out, _ in results] == [True, False]
    assert [bool(err) for _, _, err in results] == [True, False]
    return run


def test_a_run_of_two_workers_looks_like_that_of_one(undisturbed: Path) -> None:
    assert [line["step"] for line in lines_of(undisturbed) if "check" not in line] == list(
        range(1, STEPS + 1)
    )
    names = {path.name for path in undisturbed.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "model.json", "model.safetensors"} <= names
    assert [path.name for path in undisturbed.parent.iterdir()] == ["undisturbed"]


def test_mpirun_trains_the_same(undisturbed: Path, small_showers: Path, tmp_path: Path) -> None:
    code, out, err = ended(mpirun(2, *arguments(small_showers, tmp_path / "run", f"max_steps={STEPS}")))
    assert code == 0, err
    assert out.count("best") == 1
    assert_same_weights(undisturbed, tmp_path / "run")


@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_replaces_a_killed_worker_and_nothing_is_lost(
    undisturbed: Path, small_showers: Path, tmp_path: Path, rank: int
) -> None:
    run = tmp_path / "run"
    launcher = torchrun(2, *arguments(small_showers, run, f"max_steps={STEPS}"), restarts=2)
    wait_for_lines(run, random.randint(1, STEPS - 3))
    time.sleep(random.uniform(0, 0.3))
    os.kill(rank_processes(launcher)[rank], signal.SIGKILL)
    code, _, err = ended(launcher)
    assert code == 0, err
    assert err.count(f"lost rank {rank} of 2") == 1
    assert "Exception raised" not in err
    assert_same_weights(undisturbed, run)
    assert [line["step"] for line in lines_of(run) if "check" not in line] == list(range(1, STEPS + 1))


def test_the_others_end_within_seconds_and_the_job_goes_on_when_it_is_queued_again(
    undisturbed: Path, small_showers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    workers = srun(2, *arguments(small_showers, run, f"max_steps={STEPS}"))
    wait_for_lines(run, 4)
    workers[0].kill()
    killed = time.monotonic()
    code, _, err = ended(workers[1])
    assert time.monotonic() - killed < 10
    assert code == 1
    assert err.splitlines()[-1].startswith("caloforge: lost rank 0 of 2")
    assert len(err.splitlines()) == 1
    ended(workers[0])
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = srun(2, *arguments(small_showers, run, f"max_steps={STEPS}"))
    assert [ended(process)[0] for process in again] == [0, 0]
    assert_same_weights(undisturbed, run)


def test_a_requeued_job_leaves_the_run_of_another_alone(
    undisturbed: Path, small_showers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(undisturbed)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    command = arguments(small_showers, undisturbed, "max_steps=99")
    results = [ended(process) for process in srun(2, *command, job="8")]
    assert [code for code, _, _ in results] == [2, 2]
    said = "".join(err for _, _, err in results)
    assert said.count("\n") == 1
    assert "is not empty; --resume continues a run" in said
    assert all(torch.equal(value, before[name]) for name, value in weights(undisturbed).items())


def test_sigterm_to_one_worker_ends_all_with_a_checkpoint(small_showers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    workers = srun(2, *arguments(small_showers, run, "epochs=500", "checkpoint_every_steps=100000"))
    wait_for_lines(run, 2)
    workers[1].terminate()
    results = [ended(process) for process in workers]
    assert [code for code, _, _ in results] == [130, 130]
    said = "".join(err for _, _, err in results)
    assert said.count("--resume continues") == 1
    assert "Traceback" not in said
    last = [line["step"] for line in lines_of(run) if "check" not in line][-1]
    assert checkpoints(run / "checkpoints")[-1].name == f"step-{last:08d}.safetensors"


@pytest.mark.parametrize("setting", ["bath_size=4", "energy=900:901"])
def test_wrong_use_is_said_once(small_showers: Path, tmp_path: Path, setting: str) -> None:
    results = [ended(one) for one in srun(2, *arguments(small_showers, tmp_path / "run", setting))]
    assert [code for code, _, _ in results] == [2, 2]
    said = "".join(err for _, _, err in results)
    assert said.count("\n") == 1, said
    assert f"setting {setting.partition('=')[0]}" in said
    assert list(tmp_path.iterdir()) == []
