"""The command under torchrun, mpirun and srun: it trains the same, says one thing, and outlives its workers."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from commands import PATIENCE_S, MadeOnce
from launchers import faulty, mpirun, srun, torchrun
from loaded import Task

from caloforge.files.tensors import load_tensors
from caloforge.training.checkpoint import checkpoints

pytestmark = pytest.mark.process

SETTINGS = [
    "model=3dgan",
    "batch_size=4",
    "check_showers=4",
    "checkpoint_every_steps=3",
    "validation_fraction=0.15",
]
STEPS, TURNS = 12, 4


def arguments(data: Path, run: Path, *settings: str) -> list[object]:
    chosen = [f"--set={setting}" for setting in (*SETTINGS, *settings)]
    return ["train", "--data", data, "--out", run, *chosen]


def ended(process: subprocess.Popen[str] | Task) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, out, err


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_tensors(checkpoints(run / "checkpoints")[-1])[0]


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def steps_of(run: Path) -> list[int]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "check" not in line]


def steps_kept(run: Path) -> list[int]:
    """List the steps of the checkpoints, each of which must be whole."""
    return [load_tensors(path)[1]["step"] for path in checkpoints(run / "checkpoints")]


@pytest.fixture(scope="module")
def undisturbed(small_showers: Path, made_once: MadeOnce) -> Path:
    """A training by two workers of srun."""

    def fill(folder: Path) -> None:
        command = arguments(small_showers, folder / "undisturbed", f"max_steps={STEPS}")
        results = [ended(process) for process in srun(2, *command)]
        assert [code for code, _, _ in results] == [0, 0], results
        assert [bool(out) for _, out, _ in results] == [True, False]
        assert [bool(err) for _, _, err in results] == [True, False]

    return made_once("two-workers", fill) / "undisturbed"


def test_a_run_of_two_workers_looks_like_that_of_one(undisturbed: Path) -> None:
    assert steps_of(undisturbed) == list(range(1, STEPS + 1))
    names = {path.name for path in undisturbed.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "model.json", "model.safetensors"} <= names
    assert [path.name for path in undisturbed.parent.iterdir()] == ["undisturbed"]


def test_mpirun_trains_the_same(undisturbed: Path, small_showers: Path, tmp_path: Path) -> None:
    code, out, err = ended(mpirun(2, *arguments(small_showers, tmp_path / "run", f"max_steps={STEPS}")))
    assert code == 0, err
    assert out.count("score") == 1
    assert_same_weights(undisturbed, tmp_path / "run")


def test_torchrun_replaces_killed_workers_and_nothing_is_lost(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    """In one attempt after the other: in any step, or in the write of a checkpoint, as ``faulty.py`` says."""
    faults = [
        f"rank0:{random.randint(1, 3 * TURNS)}",  # before the first checkpoint
        "other:3",
        f"rank1:{random.randint(1, (STEPS - 3) * TURNS)}",
    ]
    run = tmp_path / "run"
    command = arguments(small_showers, run, f"max_steps={STEPS}")
    program = faulty(*faults)
    code, _, err = ended(torchrun(2, *command, restarts=len(faults), program=program))
    assert code == 0, (faults, err)
    assert err.count("caloforge: lost a worker") == len(faults), (faults, err)
    assert "Exception raised" not in err
    assert_same_weights(undisturbed, run)
    assert steps_of(run) == list(range(1, STEPS + 1))
    assert all(path.name.startswith("step-") for path in (run / "checkpoints").iterdir())


def test_the_others_end_and_the_job_goes_on_when_it_is_queued_again(
    undisturbed: Path, small_showers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    command = arguments(small_showers, run, f"max_steps={STEPS}")
    workers = srun(2, *command, program=faulty(f"rank0:{5 * TURNS}"))
    ended(workers[0])
    code, _, err = ended(workers[1])
    assert code == 1
    assert err.startswith("caloforge: lost a worker ")
    assert err.count("\n") == 1
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = srun(2, *command)
    assert [ended(process)[0] for process in again] == [0, 0]
    assert_same_weights(undisturbed, run)


def all_ended(workers: list[Task]) -> tuple[list[int], str]:
    """Return all exit codes, and what was said on stderr beside the progress."""
    results = [ended(process) for process in workers]
    said = [line for _, _, err in results for line in err.splitlines()]
    return [code for code, _, _ in results], "\n".join(line for line in said if line[:7] != "train: ")


def test_a_disk_that_is_full_is_one_line_and_older_checkpoints_stay(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = arguments(small_showers, run, f"max_steps={STEPS}")
    codes, said = all_ended(srun(2, *command, program=faulty("full:6")))
    assert codes == [1, 1]
    assert "\n" not in said
    assert "step-00000006.safetensors: cannot be written: File too large" in said
    assert steps_kept(run) == [0, 3]
    assert all_ended(srun(2, *command, "--resume"))[0] == [0, 0]
    assert_same_weights(undisturbed, run)


def test_data_that_vanished_before_the_start_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone.h5"
    codes, said = all_ended(srun(2, *arguments(gone, tmp_path / "run")))
    assert codes == [2, 2]
    assert said.startswith(f"caloforge: {gone}: ")
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []


def test_data_that_vanishes_during_a_run_is_missed_when_it_goes_on(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    data, run = tmp_path / "data.h5", tmp_path / "run"
    shutil.copy(small_showers, data)
    command = arguments(data, run, f"max_steps={STEPS}")
    codes, _ = all_ended(srun(2, *command, program=faulty("vanish:6")))
    assert codes == [-signal.SIGKILL, 1]
    assert not data.exists()
    codes, said = all_ended(srun(2, *command, "--resume"))
    assert codes == [2, 2]
    assert said.startswith(f"caloforge: {data}: ")
    assert "\n" not in said
    assert steps_kept(run) == [0, 3, 6]
    # Once it goes on, the store is all that it needs.
    shutil.copy(small_showers, data)
    assert all_ended(srun(2, *command, "--resume", program=faulty("hidden:9")))[0] == [0, 0]
    assert not data.exists()
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
    """It comes while a checkpoint is written; that of the last step is waited for as well."""
    run = tmp_path / "run"
    command = arguments(small_showers, run, "epochs=5000")
    codes, said = all_ended(srun(2, *command, program=faulty("term:3")))
    assert codes == [130, 130]
    assert said.count("--resume continues") == 1
    assert "Traceback" not in said
    assert steps_kept(run)[:2] == [0, 3]
    assert steps_kept(run)[-1] == steps_of(run)[-1]


@pytest.mark.parametrize("setting", ["bath_size=4", "energy=900:901"])
def test_wrong_use_is_said_once(small_showers: Path, tmp_path: Path, setting: str) -> None:
    results = [ended(one) for one in srun(2, *arguments(small_showers, tmp_path / "run", setting))]
    assert [code for code, _, _ in results] == [2, 2]
    said = "".join(err for _, _, err in results)
    assert said.count("\n") == 1, said
    assert f"setting {setting.partition('=')[0]}" in said
    assert list(tmp_path.iterdir()) == []
