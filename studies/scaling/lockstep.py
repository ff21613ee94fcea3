"""Many data-parallel workers in one process, which take turns: how large batches are tried without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from caloforge.foundations.randomness import stream_seed
from caloforge.models.objective import Objective
from caloforge.showers.batch import Batch
from caloforge.training.step import finite

__all__ = ["Lockstep"]


class Lockstep:
    """Trains one set of networks as so many workers do who add up their gradients.

    Each worker has a batch, random numbers and running statistics of its own, as a rank has. For every loss
    of the objective all workers' gradients, each times its share of the showers, are accumulated before the
    network steps; after the last the running statistics are averaged. So the steps are those of
    :mod:`caloforge.training.trainer` on as many ranks, up to the order of sums.
    """

    def __init__(self, objective: Objective, learning_rate: float, seed: int) -> None:
        self.objective, self._seed = objective, seed
        self.optimizers = {
            name: objective.optimizer(network, learning_rate)
            for name, network in objective.networks.items()
        }
        both = nn.ModuleList(objective.networks.values())
        kept = both.state_dict().keys()  # a network's constants are not
        self._buffers = [buffer for name, buffer in both.named_buffers() if name in kept]

    def step(self, step: int, batches: Sequence[Batch], rate: float) -> bool:
        """Take step ``step`` (from 0) with one batch for each worker, whose shares add up to 1.

        Return whether all gradients were finite: a network whose gradient is not stays as it is.
        """
        self._own = [self._copies() for _ in batches]
        trusted, all_finite = list(self._own), True
        self._forget()
        workers = [self._worker(rank, batch, step) for rank, batch in enumerate(batches)]
        for network, *_ in zip(*workers, strict=True):
            gradients = [
                p.grad for p in self.objective.networks[network].parameters() if p.grad is not None
            ]
            if finite(gradients):
                optimizer = self.optimizers[network]
                for settings in optimizer.param_groups:
                    settings["lr"] = rate
                optimizer.step()
                trusted = list(self._own)
            else:
                all_finite, self._own = False, list(trusted)
            self._forget()
        self._average()
        return all_finite

    def _worker(self, rank: int, batch: Batch, step: int) -> Iterator[str]:
        """Be one worker: add its gradients loss by loss, and name the network that they are for."""
        torch.manual_seed(stream_seed(self._seed, "step", *((step, rank) if rank else (step,))))
        random = torch.get_rng_state()
        losses = self.objective.losses(batch)
        while True:
            self._fill(self._own[rank])
            torch.set_rng_state(random)
            loss = next(losses, None)
            if loss is None:
                return
            (batch.share * loss.loss).backward()  # type: ignore[no-untyped-call]
            self._own[rank], random = self._copies(), torch.get_rng_state()
            yield loss.network

    def _copies(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def _fill(self, values: Sequence[Tensor]) -> None:
        for buffer, value in zip(self._buffers, values, strict=True):
            buffer.copy_(value)

    def _average(self) -> None:
        """Average what workers keep beside weights; counts are the same on all of them."""
        self._fill(
            [
                torch.stack(each).double().mean(0) if each[0].is_floating_point() else each[0]
                for each in zip(*self._own, strict=True)
            ]
        )

    def _forget(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
