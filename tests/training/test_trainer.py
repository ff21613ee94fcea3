from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import MadeOnce, wait_until
from launchers import PROGRAM, faulty
from loaded import start_loaded

import caloforge as cf
from caloforge.files.tensors import load_tensors
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.generation.sampler import load
from caloforge.models.base import ShowerModel
from caloforge.showers.batch import Batch
from caloforge.training.checkpoint import checkpoints
from caloforge.training.config import TrainingConfig, load_config
from caloforge.training.loader import Loader
from caloforge.training.trainer import train

SETTINGS = [
    "model=3dgan",
    "batch_size=8",
    "check_showers=4",
    "checkpoint_every_steps=2",
    "validation_fraction=0.15",
]


def quick(*settings: str) -> TrainingConfig:
    return load_config(settings=[*SETTINGS, *settings])


def final_state(run: Path) -> tuple[dict[str, torch.Tensor], int]:
    tensors, note = load_tensors(checkpoints(run / "checkpoints")[-1])
    return tensors, note["step"]


def assert_same_end(one: Path, other: Path) -> None:
    (a, step_a), (b, step_b) = final_state(one), final_state(other)
    assert step_a == step_b
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def logged(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "check" not in line]


def steps_logged(run: Path) -> list[int]:
    return [line["step"] for line in logged(run)]


@pytest.fixture(scope="module")
def undisturbed(small_showers: Path, made_once: MadeOnce) -> Path:
    """Seven steps: five an epoch, so that an epoch's end lies within."""
    return made_once("seven-steps", lambda run: train(quick("max_steps=7"), [small_showers], run))


@pytest.mark.training
def test_a_run_leaves_what_the_contract_promises(undisturbed: Path) -> None:
    card = json.loads((undisturbed / "model.json").read_text())
    assert card["name"] == "3dgan"
    assert card["units"]["showers"] == "MeV"
    assert card["grid"]["shape"] == [9, 9, 11]
    assert len(card["training_data"]["checksum"]) == 64
    assert card["metrics"]["score"] > 0
    assert steps_logged(undisturbed) == list(range(1, 8))
    config = (undisturbed / "config.yaml").read_text()
    assert "batch_size: 8" in config
    assert "core.h5" in config
    kept = [path.name for path in checkpoints(undisturbed / "checkpoints")]
    assert kept == [f"step-{step:08d}.safetensors" for step in (4, 6, 7)]


@pytest.mark.training
def test_the_same_seed_gives_the_same_weights(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    train(quick("max_steps=7"), [small_showers], tmp_path / "again")
    assert_same_end(undisturbed, tmp_path / "again")
    train(quick("max_steps=7", "seed=2"), [small_showers], tmp_path / "other")
    with pytest.raises(AssertionError):
        assert_same_end(undisturbed, tmp_path / "other")


@pytest.mark.training
@pytest.mark.parametrize("stop_after", [3, 5])
def test_resume_is_exact(
    undisturbed: Path, small_showers: Path, tmp_path: Path, stop_after: int
) -> None:
    run = tmp_path / "run"
    train(quick(f"max_steps={stop_after}"), [small_showers], run)
    train(quick("max_steps=7"), [small_showers], run, resume=True)
    assert_same_end(undisturbed, run)
    assert steps_logged(run) == list(range(1, 8))
    assert "max_steps: 7" in (run / "config.yaml").read_text()


@pytest.mark.training
@pytest.mark.parametrize("choose", ["best", "last"])
@pytest.mark.parametrize("stops", [[7], [2, 5, 8], [10]])
def test_a_stop_within_an_epoch_leaves_no_trace_in_the_model(
    small_showers: Path, tmp_path: Path, made_once: MadeOnce, choose: str, stops: list[int]
) -> None:
    def whole(run: Path) -> None:
        result = train(quick(f"choose={choose}", "max_steps=12"), [small_showers], run)
        (run / "best.json").write_text(json.dumps(result["best"]))

    expected, run = made_once(f"twelve-steps-{choose}", whole), tmp_path / "run"
    for number, steps in enumerate((*stops, 12)):
        config = quick(f"choose={choose}", f"max_steps={steps}")
        result = train(config, [small_showers], run, resume=number > 0)
        assert load_tensors(run / "model.safetensors")[1]["metrics"] == result["best"]
    assert result["best"] == json.loads((expected / "best.json").read_text())
    ours, theirs = (load_tensors(folder / "model.safetensors")[0] for folder in (run, expected))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    config = quick(f"choose={choose}", "max_steps=12")  # nothing is left to do
    assert train(config, [small_showers], run, resume=True)["steps"] == 12
    again = load_tensors(run / "model.safetensors")[0]
    assert all(torch.equal(again[name], ours[name]) for name in ours)


@pytest.mark.training
def test_a_damaged_newest_checkpoint_falls_back(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    run, said = tmp_path / "run", list[str]()
    train(quick("max_steps=5"), [small_showers], run)
    newest = checkpoints(run / "checkpoints")[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 255
    newest.write_bytes(content)
    train(quick("max_steps=7"), [small_showers], run, resume=True, say=said.append)
    assert newest.name in said[0]
    assert "falling back" in said[0]
    assert_same_end(undisturbed, run)


@pytest.mark.training
def test_a_damaged_store_is_found_before_the_first_step(
    undisturbed: Path, small_showers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALOFORGE_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    train(quick("max_steps=3"), [small_showers], run)
    (deposits,) = (tmp_path / "cache" / "stores").glob("showers-*/deposits")
    (np.fromfile(deposits, "<f4") * 10).tofile(deposits)
    train(quick("max_steps=7"), [small_showers], run, resume=True)
    assert_same_end(undisturbed, run)


def arguments(small_showers: Path, run: Path, *extra: str) -> list[object]:
    settings = [f"--set={setting}" for setting in (*SETTINGS, *extra)]
    return ["train", "--data", small_showers, "--out", run, *settings]


def wait_for_step(run: Path, step: int) -> None:
    metrics = run / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= step)


@pytest.mark.process
@pytest.mark.parametrize("fault", ["rank0:13", "torn:4"])
def test_a_killed_run_resumes_to_the_same_weights(
    undisturbed: Path, small_showers: Path, tmp_path: Path, fault: str
) -> None:
    """Killed in the fourth step, or in the write of its checkpoint: ``faulty.py`` says when."""
    run = tmp_path / "run"
    command = arguments(small_showers, run, "max_steps=7")
    killed = start_loaded(*faulty(fault), *command)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    resumed = start_loaded(*PROGRAM, *command, "--resume")
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said
    assert_same_end(undisturbed, run)
    assert steps_logged(run) == list(range(1, 8))


@pytest.mark.process
def test_sigterm_writes_a_checkpoint_of_the_step_it_came_in(small_showers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = arguments(small_showers, run, "epochs=50000", "checkpoint_every_steps=100000")
    process = start_loaded(*PROGRAM, *command)
    wait_for_step(run, 2)
    process.terminate()
    _, said = process.communicate()
    assert process.returncode == 130
    assert "--resume continues" in said
    assert "Traceback" not in said
    assert final_state(run)[1] == steps_logged(run)[-1]


@pytest.mark.process
def test_a_second_training_of_the_same_run_is_refused(small_showers: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start_loaded(*PROGRAM, *arguments(small_showers, run, "epochs=50000"))
    try:
        wait_for_step(run, 1)
        with pytest.raises(UsageError, match="another training"):
            train(quick(), [small_showers], run, resume=True)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def broken_shower(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets the first shower of the fourth step hold a number in every cell."""
    batch = Loader.batch

    def put(value: float) -> None:
        def broken(self: Loader, step: int) -> Batch:
            made = batch(self, step)
            if step == 3:
                made.deposits_BXYZ[0] = value
            return made

        monkeypatch.setattr(Loader, "batch", broken)

    return put


# The last is finite, but not its variance, which BatchNorm would carry on. The first part of a run ends with the
# skipped step, or after it.
@pytest.mark.training
@pytest.mark.parametrize(("value", "first"), [(math.nan, 4), (math.inf, 5), (1e25, 4)])
def test_a_step_that_is_not_finite_is_skipped_and_resume_stays_exact(
    undisturbed: Path,
    small_showers: Path,
    tmp_path: Path,
    broken_shower: Callable[[float], None],
    value: float,
    first: int,
) -> None:
    broken_shower(value)
    train(quick("max_steps=7"), [small_showers], tmp_path / "whole")
    run, said = tmp_path / "parts", list[str]()
    for steps in (first, 7):
        going_on = run.exists()
        train(quick(f"max_steps={steps}"), [small_showers], run, resume=going_on, say=said.append)
    assert_same_end(tmp_path / "whole", run)
    assert "step 4: skipped, the critic's loss or gradient is not finite" in said
    assert [line.get("skipped", 0) for line in logged(tmp_path / "whole")] == [0, 0, 0, 1, 0, 0, 0]
    tensors, _ = final_state(tmp_path / "whole")
    assert all(value.isfinite().all() for value in tensors.values())
    assert (
        len([path for path in checkpoints(tmp_path / "whole" / "checkpoints") if "04" in path.name]) == 0
    )
    with pytest.raises(AssertionError):
        assert_same_end(undisturbed, tmp_path / "whole")


# Weights too large for a finite loss, and too large for a finite square.
@pytest.mark.training
@pytest.mark.parametrize(("rate", "why"), [("1e12", "loss or gradient is"), ("1e30", "weights are")])
def test_weights_that_went_astray_end_the_run_with_the_last_good_ones(
    small_showers: Path, tmp_path: Path, rate: str, why: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(CaloforgeError, match=rf"{why} not finite at step \d+.*last good one"):
        train(quick(f"learning_rate={rate}", "epochs=20"), [small_showers], run)
    tensors, _ = final_state(run)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    assert (run / "model.json").exists()


@pytest.mark.training
def test_a_run_without_finite_showers_ends_without_a_model(
    small_showers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, said = tmp_path / "run", list[str]()
    # As copulas do at a learning rate of 3, though not on every processor.
    shape = cf.read(small_showers).grid.shape
    monkeypatch.setattr(
        ShowerModel, "sample", lambda _, given, *__: np.full((len(given), *shape), np.inf)
    )
    with pytest.raises(CaloforgeError, match="the showers after step 2 are not finite"):
        train(quick("max_steps=2"), [small_showers], run, say=said.append)
    assert any("not a model, the showers" in line for line in said)
    assert not (run / "model.json").exists()
    assert "NaN" not in (run / "metrics.jsonl").read_text()


@pytest.mark.training
def test_other_data_is_refused_on_resume(undisturbed: Path, tmp_path: Path) -> None:
    import caloforge as cf

    with_changes = tmp_path / "core.h5"
    config = undisturbed / "config.yaml"
    original = next(line.strip("- ") for line in config.read_text().splitlines() if "core.h5" in line)
    showers = cf.read(original)
    cf.write(with_changes, showers[:-1])
    with pytest.raises(CaloforgeError, match="not those that the run began with"):
        train(quick("max_steps=9"), [with_changes], undisturbed, resume=True)


@pytest.mark.training
def test_training_on_a_range_of_energies_only(small_showers: Path, tmp_path: Path) -> None:
    train(quick("max_steps=1", "energy=100:300"), [small_showers], tmp_path / "run")
    low, high = json.loads((tmp_path / "run" / "model.json").read_text())["energy_MeV"]
    assert 100e3 <= low < high <= 300e3
    with pytest.raises(UsageError, match="setting energy"):
        train(quick("energy=900:901"), [small_showers], tmp_path / "none")


@pytest.mark.training
def test_init_from_takes_both_networks_and_a_fresh_optimiser(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    # With a learning rate of almost zero the first checkpoint still holds the weights it began with.
    train(
        quick("max_steps=1", "learning_rate=1e-12", "seed=9"),
        [small_showers],
        tmp_path / "run",
        init_from=[undisturbed],
    )
    before, after = final_state(undisturbed)[0], final_state(tmp_path / "run")[0]
    weights = [n for n in before if n.startswith(("generator.", "critic.")) and n.endswith("weight")]
    assert len(weights) > 10
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in weights)
    with pytest.raises(UsageError, match="--init-from"):
        train(quick(), [small_showers], tmp_path / "other", init_from=[tmp_path / "nothing"])


@pytest.mark.training
def test_a_run_killed_before_its_first_checkpoint_still_begins_where_it_was_told(
    undisturbed: Path, small_showers: Path, tmp_path: Path
) -> None:
    for run in ("whole", "killed"):
        train(quick("max_steps=1"), [small_showers], tmp_path / run, init_from=[undisturbed])
    for checkpoint in checkpoints(tmp_path / "killed" / "checkpoints"):
        checkpoint.unlink()
    train(quick("max_steps=1"), [small_showers], tmp_path / "killed", resume=True)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.training
def test_bfloat16_trains_as_well(small_showers: Path, tmp_path: Path) -> None:
    result = train(quick("max_steps=2", "precision=bf16"), [small_showers], tmp_path / "run")
    assert math.isfinite(result["best"]["score"])


@pytest.mark.training
def test_tensorboard_events_are_written(small_showers: Path, tmp_path: Path) -> None:
    train(quick("max_steps=1", "tensorboard=true"), [small_showers], tmp_path / "run")
    assert list((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.training
def test_a_trained_model_generates(undisturbed: Path) -> None:
    showers = load(undisturbed).generate([50e3, 100e3], seed=4)
    assert showers.deposits.shape == (2, 9, 9, 11)
    assert (showers.deposits >= 0).all()
