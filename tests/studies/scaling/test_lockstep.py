"""Workers that take turns in one process do what ranks do: their gradients add up to those of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import PATIENCE_S
from launchers import srun
from torch import Tensor, nn

from caloforge.foundations.randomness import stream_seed
from caloforge.models.base import ShowerModel
from caloforge.models.objective import LossStep
from caloforge.showers.batch import Batch, Given
from caloforge.training.begin import build_objective
from caloforge.training.checkpoint import newest_valid
from caloforge.training.config import TrainingConfig, load_config
from caloforge.training.loader import Loader
from caloforge.training.schedule import learning_rate
from caloforge.training.split import Split, prepare_data
from studies.scaling.lockstep import Lockstep

STEPS = 2


class Opponents:
    """Two linear networks without batch statistics; the second's loss depends on the first, as it is by then."""

    model: ShowerModel

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.networks: Mapping[str, nn.Module] = {"first": nn.Linear(6, 4), "second": nn.Linear(4, 1)}

    def losses(self, batch: Batch) -> Iterator[LossStep]:
        x_BF = batch.deposits_BXYZ.flatten(1)
        yield LossStep("first", self.networks["first"](x_BF).square().mean(), {})
        with torch.no_grad():
            y_BF = self.networks["first"](x_BF)
        yield LossStep(
            "second", (self.networks["second"](y_BF)[:, 0] - batch.given.energy_B).square().mean(), {}
        )

    def optimizer(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), lr=learning_rate)


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    pass


def some(count: int) -> Batch:
    draws = torch.Generator().manual_seed(count)
    return Batch(
        torch.randn(count, 1, 2, 3, generator=draws),
        Given.of(torch.randn(count, generator=draws)),
    )


def part(batch: Batch, cells: slice) -> Batch:
    some = batch.take(cells)
    return replace(some, share=len(some.deposits_BXYZ) / len(batch.deposits_BXYZ))


def trained(cuts: Sequence[slice]) -> dict[str, Tensor]:
    objective = Opponents()
    lockstep = Lockstep(objective, 0.1, seed=1)
    for step in range(3):
        whole = some(11 + step)
        assert lockstep.step(step, [part(whole, cut) for cut in cuts], rate=0.05)
    return {
        f"{name}.{key}": value
        for name, network in objective.networks.items()
        for key, value in network.state_dict().items()
    }


def test_workers_of_any_shares_step_as_one_with_the_whole_batch() -> None:
    alone = trained([slice(None)])
    for cuts in (
        [slice(0, 5), slice(5, None)],
        [slice(0, 1), slice(1, 4), slice(4, 10), slice(10, None)],
    ):
        torch.testing.assert_close(trained(cuts), alone, rtol=1e-5, atol=1e-6)


def test_a_gradient_that_is_not_finite_leaves_its_network_and_stops_no_other() -> None:
    objective = Opponents()
    first, second = (next(network.parameters()) for network in objective.networks.values())
    before = first.clone(), second.clone()
    whole = some(6)
    nowhere = whole.given._replace(energy_B=torch.full_like(whole.given.energy_B, math.nan))
    spoilt = replace(whole, given=nowhere)
    assert not Lockstep(objective, 0.1, seed=1).step(0, [spoilt], rate=0.05)
    assert not torch.equal(first, before[0])
    assert torch.equal(second, before[1])


@pytest.mark.process
@pytest.mark.parametrize("model", ["copula", "3dgan"])
def test_two_virtual_workers_are_two_ranks(model: str, small_showers: Path, tmp_path: Path) -> None:
    settings = ["batch_size=4", "warmup_epochs=1", "check_showers=4", f"max_steps={STEPS}"]
    config = load_config(settings=settings, model=model)
    chosen = [text for setting in settings for text in ("--set", setting)]
    run = tmp_path / "run"
    ranks = srun(2, "train", "--model", model, "--data", small_showers, "--out", run, *chosen)
    (_, errors), _ = (rank.communicate(PATIENCE_S) for rank in ranks)
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    found, _ = newest_valid(run / "checkpoints")
    assert found is not None
    ours = virtual_pair(config, small_showers)
    theirs = {name: found.tensors[name] for name in ours}
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def virtual_pair(config: TrainingConfig, data: Path) -> dict[str, Tensor]:
    """Train as two ranks of the training loop do, in one process."""
    store = prepare_data(config, [data])
    split = Split.of(store, config)
    symmetries = () if config.augment != "all" else ("mirror-x", "mirror-y", "transpose")
    loaders = [
        Loader(
            store, split.train_N, batch_size=4, seed=1, rank=rank, world_size=2, augmentations=symmetries
        )
        for rank in range(2)
    ]
    torch.manual_seed(stream_seed(config.seed, "weights"))
    objective = build_objective(config, store, split.train_N)
    lockstep = Lockstep(objective, config.learning_rate, config.seed)
    for step in range(STEPS):
        rate = learning_rate(config, 2, step / loaders[0].steps_per_epoch, [])
        assert lockstep.step(step, [loader.batch(step) for loader in loaders], rate)
    return {
        f"{name}.{key}": value
        for name, network in objective.networks.items()
        for key, value in network.state_dict().items()
    }
