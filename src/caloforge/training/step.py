"""One step of a training: the networks that learn, and how all workers take a step together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caloforge.foundations.randomness import stream_seed
from caloforge.models.objective import LossStep, Objective
from caloforge.showers.batch import Batch
from caloforge.training.checkpoint import TrainingProgress, TrainState
from caloforge.training.config import TrainingConfig
from caloforge.training.data_parallel import Group
from caloforge.training.ema import MovingAverage
from caloforge.training.gradients import SummedGradients
from caloforge.training.schedule import learning_rate

__all__ = ["Learner", "Step", "finite"]


@dataclass(frozen=True)
class Step:
    """What came of one step, the same for all workers."""

    losses: dict[str, float]
    """By network; a network whose step was skipped has none."""
    terms: dict[str, float]
    """Of the losses, by dotted name."""
    skipped: list[str]
    """Networks whose loss or gradient was not finite."""
    learning_rate: float
    showers: float
    """Of all workers."""
    enough: bool
    """Whether a worker has had enough."""
    astray: bool
    """Whether a weight is not finite."""


class Learner:
    """The networks of an objective with what goes along with them: optimisers, sums of gradients, averaged weights.

    A step is one batch of real showers, and every optimiser step that the objective asks for; the workers
    take it on all their batches together, so that their networks stay the same. A loss or gradient that is
    not finite is skipped. ``state`` holds the tensors that a step changes.
    """

    def __init__(
        self, objective: Objective, config: TrainingConfig, group: Group, device: torch.device
    ) -> None:
        self._objective, self._config, self._group, self._device = objective, config, group, device
        networks, rate = objective.networks, config.learning_rate
        self._average = MovingAverage(objective.model, config.ema_decay)
        self.model = self._average.average
        self.state = TrainState(
            networks={**networks, "average": self.model},
            optimizers={name: objective.optimizer(it, rate) for name, it in networks.items()},
        )
        bf16 = config.gradient_compression == "bf16"
        self._gradients = {name: SummedGradients(it, group, bf16=bf16) for name, it in networks.items()}
        learning = nn.ModuleList(networks.values())
        self._weights = [parameter.detach() for parameter in learning.parameters()]
        kept = learning.state_dict().keys()  # a network's constants are not
        self._statistics = [
            buffer
            for name, buffer in learning.named_buffers()
            if name in kept and buffer.is_floating_point()
        ]

    def step(self, batch: Batch, progress: TrainingProgress, enough: Callable[[], bool]) -> Step:
        """Take every optimiser step that the objective asks for, then agree on what all must know."""
        # Each worker has noise of its own.
        address = (progress.step, self._group.rank) if self._group.rank else (progress.step,)
        torch.manual_seed(stream_seed(self._config.seed, "step", *address))
        rate = learning_rate(self._config, self._group.world, progress.epoch, progress.scores)
        shown, skipped = dict[str, Tensor](), list[str]()
        trusted = [buffer.clone() for buffer in self._statistics]
        for loss_step in self._objective.losses(batch.to(self._device)):
            if self._descend(loss_step, batch.share, rate):
                torch._foreach_copy_(trusted, self._statistics)
                shown |= {loss_step.network: loss_step.loss.detach(), **loss_step.terms}
            else:
                torch._foreach_copy_(self._statistics, trusted)
                skipped.append(loss_step.network)
        one_has_enough, astray = self._agree(enough(), list(shown.values()))
        self._average.update(progress.step)
        terms = {name: float(value) for name, value in shown.items()}
        return Step(
            losses={name: terms.pop(name) for name in self._objective.networks if name in terms},
            terms=terms,
            skipped=skipped,
            learning_rate=rate,
            showers=len(batch.given.energy_B) / batch.share,
            enough=one_has_enough,
            astray=astray,
        )

    def _descend(self, loss_step: LossStep, share: float, rate: float) -> bool:
        """Step one network down its loss; leave it, and return False, if a gradient is not finite."""
        network = self.state.networks[loss_step.network]
        optimizer = self.state.optimizers[loss_step.network]
        optimizer.zero_grad(set_to_none=True)
        # Through the gradient all workers learn that one's loss or statistics are not finite.
        sound = finite([loss_step.loss.detach(), *self._statistics])
        (torch.where(sound, share, math.nan) * loss_step.loss).backward()  # type: ignore[no-untyped-call]
        self._gradients[loss_step.network].wait()
        if not finite([p.grad for p in network.parameters() if p.grad is not None]):
            return False
        for settings in optimizer.param_groups:
            settings["lr"] = rate
        optimizer.step()
        return True

    def _agree(self, enough: bool, shown: Sequence[Tensor]) -> tuple[bool, bool]:
        """Average over the workers, in one message, what all must know before the next step.

        Changes ``shown`` and the networks' statistics. Returns whether a worker has had enough, and whether
        a weight of one is not finite.
        """
        told = [torch.tensor(float(enough)), (~finite(self._weights)).double()]
        self._group.average([*told, *self._statistics, *shown])
        return bool(told[0] > 0), bool(told[1] > 0)


def finite(tensors: Sequence[Tensor]) -> Tensor:
    """Say whether numbers and their squares, of which RMSprop keeps a mean, are finite."""
    return nn.utils.get_total_norm(tensors).square().isfinite()
