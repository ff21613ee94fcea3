"""Two workers in processes of their own, each with a network that must stay the same as the other's."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from commands import PATIENCE_S
from loaded import keep_stores_in, loaded
from torch import nn

from caloforge.detector import Grid
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.ranks import Ranks
from caloforge.models.registry import MODELS
from caloforge.models.threedgan import convolution
from caloforge.models.threedgan.layers import LEAK, Dropout, LeakyDropout
from caloforge.models.threedgan.losses import AdversarialObjective, Losses, SamplingFraction
from caloforge.showers.batch import Batch, Given
from caloforge.training.checkpoint import newest_valid
from caloforge.training.config import load_config
from caloforge.training.data_parallel import Group, join
from caloforge.training.ema import MovingAverage
from caloforge.training.gradients import SummedGradients
from caloforge.training.trainer import SKIPS_IN_A_ROW, train

GRID = Grid("small", (9, 9, 11))
BATCH = 5
SETTINGS = [
    "model=3dgan",
    "batch_size=4",
    "check_showers=4",
    "checkpoint_every_steps=2",
    "validation_fraction=0.15",
]

Together = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def pool(shared_folder: Path) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, loaded(), keep_stores_in, (shared_folder,)) as processes:
        yield processes


@pytest.fixture
def together(pool: ProcessPoolExecutor, tmp_path: Path) -> Together:
    """Return a function that calls another in two workers, and lists what they gave or raised."""

    def call(work: Callable[..., Any], *arguments: Any, backend: str | None = None) -> list[Any]:
        places = [(Ranks(rank, 2, rank, 2, "job"), tmp_path / "run", backend) for rank in range(2)]
        futures = [pool.submit(_joined, *place, work, *arguments) for place in places]
        errors = [future.exception(timeout=PATIENCE_S) for future in futures]
        return [error or future.result() for error, future in zip(errors, futures, strict=True)]

    return call


def _joined(
    ranks: Ranks, meeting: Path, backend: str | None, work: Callable[..., Any], *arguments: Any
) -> Any:
    with join(ranks, meeting, backend) as group:
        result = work(group, *arguments)
    # A thread of gloo's that still lives when Python ends may end the process with SIGABRT.
    names = [thread.read_text().strip() for thread in Path("/proc/self/task").glob("*/comm")]
    assert "pt_gloo_runloop" not in names, names
    return result


def _values(group: Group) -> tuple[Any, ...]:
    tensors = [torch.tensor([1.0, 2.0]) + group.rank, torch.tensor(group.rank)]
    group.average(tensors)
    total = torch.tensor([10.0 + group.rank])
    group.add_up(total)
    with group.one_a_node_first():
        pass
    first = group.from_first(lambda: {"from": group.rank})
    held = group.tensors_from_first({"rank": torch.tensor([group.rank])})["rank"].item()
    said = group.any(group.rank == 1), group.any(False)
    return tensors[0].tolist(), total.item(), *said, first, held


@pytest.mark.process
def test_workers_agree(together: Together, tmp_path: Path) -> None:
    assert together(_values) == [([1.5, 2.5], 21.0, True, False, {"from": 0}, 0)] * 2
    assert list(tmp_path.iterdir()) == []  # where they met is gone


def _without_pickle(rank: int, meeting: Path) -> Any:
    refused = mock.Mock(side_effect=AssertionError("pickled"))
    names = ("loads", "load", "dumps", "dump", "Pickler", "Unpickler")
    with mock.patch.multiple("pickle", **dict.fromkeys(names, refused)):
        return _joined(Ranks(rank, 2, rank, 2, "job"), meeting, None, _values)


@pytest.mark.process
def test_nothing_is_pickled_between_workers(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    """What another rank sent would otherwise be run."""
    futures = [pool.submit(_without_pickle, rank, tmp_path / "run") for rank in range(2)]
    assert [future.result(PATIENCE_S)[0] for future in futures] == [[1.5, 2.5]] * 2


def test_a_lone_worker_agrees_with_itself() -> None:
    with join(Ranks(), Path("nowhere")) as group:
        assert _values(group) == ([1.0, 2.0], 10.0, False, False, {"from": 0}, 0)


@pytest.mark.parametrize("world", [1, 2])
def test_a_backend_that_this_torch_lacks_is_refused_once(world: int) -> None:
    lacking = "mpi" if not dist.is_mpi_available() else "abacus"
    with (
        pytest.raises(UsageError, match=rf"--backend: this torch has .*gloo.*, got '{lacking}'"),
        join(Ranks(0, world, 0, world), Path("nowhere"), lacking),
    ):
        pass
    with pytest.raises(SystemExit) as end, join(Ranks(1, 2, 1, 2), Path("nowhere"), lacking):
        pass
    assert end.value.code == UsageError.exit_code


@pytest.mark.process
def test_a_backend_can_be_named(together: Together) -> None:
    assert together(_values, backend="gloo")[0][0] == [1.5, 2.5]


def test_more_workers_than_gpus_are_refused() -> None:
    four = Group(Ranks(0, 8, 0, torch.cuda.device_count() + 1))
    assert four.device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="setting device: cuda needs a GPU for each worker"):
        four.device("cuda")


def _gradients(
    group: Group, dtype: torch.dtype, bf16: bool = False
) -> tuple[list[dict[str, torch.Tensor]], list[list[int]]]:
    """Compute every loss of one step; give the gradients, and how many messages left meanwhile.

    Alone, a worker gets the whole batch; two get 3 and 2 of its showers. BatchNorm, which sees a
    worker's own showers only, and dropout are taken out.
    """
    torch.manual_seed(3)
    family = MODELS["3dgan"]
    objective = AdversarialObjective(
        _plain(family.build(GRID, 0.001)).to(dtype),
        _plain(family.build_critic(GRID)).to(dtype),
        Losses(label_flips=0.0),
        SamplingFraction(0.02, 0.0),
        (10e3, 500e3),
    )
    mine = slice(0, BATCH) if group.world == 1 else (slice(0, 3), slice(3, BATCH))[group.rank]
    batch = Batch(
        torch.rand(BATCH, *GRID.shape, dtype=dtype)[mine],
        Given.of(torch.linspace(50e3, 400e3, BATCH, dtype=dtype)[mine]),
        len(range(BATCH)[mine]) / BATCH,
    )
    noise_BL = torch.randn(BATCH, objective.model.noise_size, dtype=dtype)
    draw_B = torch.rand(BATCH, dtype=dtype)
    sums = {name: SummedGradients(net, group, bf16=bf16) for name, net in objective.networks.items()}
    gradients, sent = list[dict[str, torch.Tensor]](), list[list[int]]()
    with (
        mock.patch("torch.randn", return_value=noise_BL[mine]),
        mock.patch("torch.rand_like", return_value=draw_B[mine]),
        mock.patch("torch.Tensor.float", lambda tensor: tensor.to(dtype)),
        # What it keeps for later must not be of this type.
        mock.patch.object(convolution, "_transforms", convolution._transforms.__wrapped__),
    ):
        for loss_step in objective.losses(batch):
            network = objective.networks[loss_step.network]
            network.zero_grad(set_to_none=True)
            (batch.share * loss_step.loss).backward()  # type: ignore[no-untyped-call]
            sent.append([len(sums[name]._sent) for name in ("generator", "critic")])
            sums[loss_step.network].wait()
            gradients.append({n: p.grad for n, p in network.named_parameters() if p.grad is not None})
    return gradients, sent


def _plain(network: Any) -> Any:
    for name, child in network.named_children():
        if isinstance(child, LeakyDropout):
            setattr(network, name, nn.LeakyReLU(LEAK))
        elif isinstance(child, Dropout | nn.BatchNorm3d):
            setattr(network, name, nn.Identity())
        else:
            _plain(child)
    return network


def _largest_difference(a: list[dict[str, torch.Tensor]], b: list[dict[str, torch.Tensor]]) -> float:
    return max(
        float((x[name] - y[name]).norm() / x[name].norm())
        for x, y in zip(a, b, strict=True)
        for name in x
    )


@pytest.mark.process
def test_two_workers_have_the_gradients_of_one(together: Together) -> None:
    # Measured in float64, as float32 itself rounds sums of so many numbers to a few 1e-6.
    expected, _ = _gradients(Group(), torch.float64)
    assert min(map(len, expected)) > 5
    (first, sent), (second, _) = together(_gradients, torch.float64)
    assert _largest_difference(expected, first) < 1e-6
    assert _largest_difference(first, second) == 0
    # Critic twice, generator twice; messages leave during the backward pass, and only for the learner.
    generator, critic = sent[2][0], sent[0][1]
    assert generator >= 1
    assert critic >= 1
    assert sent == [[0, critic], [0, critic], [generator, 0], [generator, 0]]


@pytest.mark.process
def test_compressed_gradients_are_the_same_to_three_digits(together: Together) -> None:
    expected, _ = _gradients(Group(), torch.float32)
    (exact, _), _ = together(_gradients, torch.float32)
    (first, _), (second, _) = together(_gradients, torch.float32, True)
    assert _largest_difference(expected, exact) < 1e-5
    assert 1e-4 < _largest_difference(expected, first) < 1e-2
    assert _largest_difference(first, second) == 0


def _one_dies_one_is_busy(rank: int, folder: Path) -> None:
    try:
        with join(Ranks(rank, 3, rank, 3, "job"), folder / "run") as group:
            group.wait()
            if rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if rank == 2:  # a long step
                time.sleep(1)
            group.wait()
    except BaseException as error:  # noqa: BLE001
        (folder / f"{rank}.txt").write_text(f"{type(error).__name__}: {error}")


@pytest.mark.process
def test_when_a_worker_is_killed_the_others_end_and_one_says_so(tmp_path: Path) -> None:
    context = loaded()
    workers = [context.Process(target=_one_dies_one_is_busy, args=(r, tmp_path)) for r in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    said = (tmp_path / "0.txt").read_text()
    assert said.startswith("CaloforgeError: lost a worker ")
    assert "--resume continues" in said
    assert (tmp_path / "2.txt").read_text() == "SystemExit: 1"


def _both_fail(rank: int, folder: Path) -> None:
    try:
        with (
            mock.patch("caloforge.training.data_parallel.LAST_WORDS_S", PATIENCE_S),
            join(Ranks(rank, 2, rank, 2, "job"), folder / "run"),
        ):
            time.sleep(rank)
            raise UsageError("wrong")
    except BaseException as error:  # noqa: BLE001
        (folder / f"{rank}.txt").write_text(f"{type(error).__name__}: {error}")


@pytest.mark.process
def test_what_is_wrong_in_all_workers_is_said_once(tmp_path: Path) -> None:
    context = loaded()
    workers = [context.Process(target=_both_fail, args=(r, tmp_path)) for r in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    said = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert sorted(said) == ["SystemExit: 2", "UsageError: wrong"]


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))


def _unused(group: Group) -> tuple[list[float], list[float]]:
    network = _Two()
    gradients = SummedGradients(network, group)
    (network.used.sum() * (1 + group.rank)).backward()  # type: ignore[no-untyped-call]
    gradients.wait()
    assert network.used.grad is not None
    assert network.unused.grad is not None
    return network.used.grad.tolist(), network.unused.grad.tolist()


@pytest.mark.process
def test_a_parameter_without_a_gradient_holds_nobody_up(together: Together) -> None:
    assert together(_unused) == [([3.0, 3.0], [0.0, 0.0])] * 2


def _train(group: Group, data: Path, out: Path, disturb: str, *settings: str) -> Any:
    """Train, while something happens to the second worker in its third step."""
    update, flipped, count = MovingAverage.update, AdversarialObjective._flipped, [0]

    def nudged(self: MovingAverage, step: int) -> None:
        if disturb == "weight" and group.rank == 1 and step == 2:
            weight = next(self._network.parameters())
            weight.data.view(-1)[0] = math.nextafter(float(weight.view(-1)[0]), math.inf) + 1e-7
        if disturb == "nan" and group.rank == 1 and step == 2:
            next(self._network.parameters()).data.view(-1)[0] = math.nan
        update(self, step)

    def spoilt(self: AdversarialObjective, labels_B: torch.Tensor) -> torch.Tensor:
        count[0] += 1
        bad = group.rank == 1 and {"loss": count[0] == 5, "losses": count[0] >= 5}.get(disturb, False)
        return flipped(self, labels_B) * (math.nan if bad else 1)

    with (
        mock.patch.object(MovingAverage, "update", nudged),
        mock.patch.object(AdversarialObjective, "_flipped", spoilt),
    ):
        return train(load_config(settings=[*SETTINGS, *settings]), [data], out, group=group)


def _error_of_one(results: list[Any]) -> CaloforgeError:
    """Require that one worker says what is wrong, and the other ends like it and says nothing."""
    assert sorted(type(result).__name__ for result in results) == ["CaloforgeError", "SystemExit"]
    error = next(result for result in results if isinstance(result, CaloforgeError))
    assert {result.code for result in results if isinstance(result, SystemExit)} == {error.exit_code}
    return error


@pytest.mark.process
def test_weights_that_part_end_the_run_before_they_are_saved(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    results = together(_train, small_showers, tmp_path / "run", "weight", "max_steps=6")
    message = str(_error_of_one(results))
    assert "after step 4" in message
    assert "the first is generator." in message
    found, _ = newest_valid(tmp_path / "run" / "checkpoints")
    assert found is not None
    assert found.progress.step == 2


@pytest.mark.process
def test_a_loss_that_is_not_finite_on_one_worker_is_skipped_by_all(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first, second = together(_train, small_showers, run, "loss", "max_steps=6")
    assert first == second  # nor did the weights part, see above
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "check" not in line]
    assert [line.get("skipped", 0) for line in steps] == [0, 0, 1, 0, 0, 0]
    found, _ = newest_valid(run / "checkpoints")
    assert found is not None
    assert found.progress.step == 6
    assert all(tensor.isfinite().all() for tensor in found.tensors.values())


@pytest.mark.process
def test_losses_that_stay_not_finite_on_one_worker_end_all_alike(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    results = together(_train, small_showers, tmp_path / "run", "losses", "max_steps=99")
    message = str(_error_of_one(results))
    assert f"critic's loss or gradient is not finite at step {2 + SKIPS_IN_A_ROW}" in message
    assert "checkpoint of step 2 is the last good" in message
    assert (tmp_path / "run" / "model.json").exists()


@pytest.mark.process
def test_a_weight_that_is_not_finite_on_one_worker_ends_all_alike(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    results = together(_train, small_showers, tmp_path / "run", "nan", "max_steps=99")
    message = str(_error_of_one(results))
    assert "the weights are not finite at step 4; the checkpoint of step 2 is the last" in message


@pytest.mark.process
def test_another_number_of_workers_goes_on_at_the_same_epoch(
    together: Together, small_showers: Path, tmp_path: Path
) -> None:
    run, said = tmp_path / "run", list[str]()
    options = ("schedule=plateau", "warmup_epochs=2")
    first, second = together(_train, small_showers, run, "", "max_steps=7", *options)
    assert first == second
    assert first["epochs"] == pytest.approx(7 / 6)  # of 41 showers, 8 a step
    config = load_config(settings=[*SETTINGS, "max_steps=12", *options])
    alone = train(config, [small_showers], run, resume=True, say=said.append)
    assert "begun with workers: 2, goes on with 1" in said[0]
    assert alone["epochs"] == pytest.approx((round(7 / 6 * 11) + 5) / 11)
    found, _ = newest_valid(run / "checkpoints")
    assert found is not None
    assert (found.progress.step, found.progress.workers, len(found.progress.scores)) == (12, 1, 1)
