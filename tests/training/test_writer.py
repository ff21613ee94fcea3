"""The thread that writes checkpoints: what it writes, how many at a time, and what becomes of its errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from commands import PATIENCE_S
from torch import nn

from caloforge.files.tensors import save_tensors
from caloforge.foundations.errors import CaloforgeError
from caloforge.training.checkpoint import TrainingProgress, TrainState, checkpoints, newest_valid
from caloforge.training.config import load_config
from caloforge.training.trainer import train
from caloforge.training.writer import CheckpointWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[CheckpointWriter]:
    with CheckpointWriter(tmp_path / "checkpoints", keep=3) as writer:
        yield writer


class Disk:
    """Stands before the disk: may hold what is to be written, or refuse it."""

    def __init__(self) -> None:
        self.asked, self.free, self.full = threading.Semaphore(0), threading.Event(), False

    def save(self, path: Path, tensors: Mapping[str, torch.Tensor], note: Mapping[str, Any]) -> None:
        self.asked.release()
        assert self.free.wait(PATIENCE_S)
        if self.full:
            raise CaloforgeError(f"{path}: cannot be written: No space left on device")
        save_tensors(path, tensors, note)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr("caloforge.training.checkpoint.save_tensors", disk.save)
    yield disk
    disk.free.set()


def until_it_raises(call: Callable[[], None]) -> NoReturn:
    while True:
        call()


def state() -> tuple[nn.Linear, TrainState]:
    network = nn.Linear(2, 1)
    return network, TrainState({"network": network}, {})


def test_it_writes_the_state_of_the_moment_it_was_told(
    disk: Disk, writer: CheckpointWriter, tmp_path: Path
) -> None:
    network, training = state()
    before = network.weight.detach().clone()
    writer.save(training, TrainingProgress(step=5))
    with torch.no_grad():
        network.weight.add_(1)
    disk.free.set()
    writer.wait()
    found, _ = newest_valid(tmp_path / "checkpoints")
    assert found is not None
    assert found.progress.step == 5
    assert torch.equal(found.tensors["network.weight"], before)


def test_the_second_waits_for_the_first(disk: Disk, writer: CheckpointWriter, tmp_path: Path) -> None:
    _, training = state()
    writer.save(training, TrainingProgress(step=1))
    second = threading.Thread(target=writer.save, args=(training, TrainingProgress(step=2)))
    second.start()
    assert disk.asked.acquire(timeout=PATIENCE_S)
    assert not disk.asked.acquire(timeout=0.2)  # too early would be seen, late is as it should be
    disk.free.set()
    second.join(PATIENCE_S)
    writer.wait()
    assert [path.name[:13] for path in checkpoints(tmp_path / "checkpoints")] == [
        "step-00000001",
        "step-00000002",
    ]


@pytest.mark.parametrize("then", ["save", "wait", "check"])
def test_an_error_comes_with_the_next_call_and_older_ones_stay(
    disk: Disk, writer: CheckpointWriter, tmp_path: Path, then: str
) -> None:
    _, training = state()
    disk.free.set()
    writer.save(training, TrainingProgress(step=1))
    writer.wait()
    disk.full = True
    writer.save(training, TrainingProgress(step=2))
    calls: dict[str, Callable[[], None]] = {
        "save": lambda: writer.save(training, TrainingProgress(step=3)),
        "wait": writer.wait,
        "check": lambda: until_it_raises(writer.check),  # it does not wait itself
    }
    with pytest.raises(CaloforgeError, match=r"step-00000002.* cannot be written: No space"):
        calls[then]()
    writer.check()  # it is said once
    found, complaints = newest_valid(tmp_path / "checkpoints")
    assert found is not None
    assert (found.progress.step, complaints) == (1, [])


@pytest.mark.training
def test_a_training_goes_on_while_a_checkpoint_is_written(
    disk: Disk, small_showers: Path, tmp_path: Path
) -> None:
    """The checkpoint before the first step is held back until three steps are done."""
    steps = list[int]()

    def progress(done: int, total: int, **figures: float | str) -> None:
        steps.append(done)
        if done == 3:
            assert not list(tmp_path.glob("run/checkpoints/*"))
            disk.free.set()

    config = load_config(settings=["model=3dgan", "batch_size=4", "check_showers=4", "max_steps=4"])
    train(config, [small_showers], tmp_path / "run", progress=progress)
    assert steps == [0, 1, 2, 3, 4]
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")] == [
        "step-00000000.safetensors",
        "step-00000004.safetensors",
    ]
