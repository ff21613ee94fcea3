"""One rank of a data-parallel 3DGAN whose steps are timed part by part: see :mod:`studies.scaling.step_ranks`.

``python -m studies.scaling.step_worker RANK WORLD STORE SEED`` (STORE is a file through which the
ranks meet): each line ``MODEL BATCH SENDING`` on stdin makes every rank take one step of BATCH showers
and print a JSON list with the times of its turns. SENDING is ``apart``, all gradients in one message
after the backward pass, once all ranks are there; or ``within`` it, as the training loop sends them.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from functools import cache

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from caloforge.detector import load_detector
from caloforge.foundations.randomness import stream
from caloforge.foundations.ranks import Ranks
from caloforge.foundations.units import GEV
from caloforge.models.objective import TrainingShowers
from caloforge.models.registry import MODELS
from caloforge.showers import Domain
from caloforge.showers.batch import Batch, Given
from caloforge.training.data_parallel import Group
from caloforge.training.gradients import SummedGradients
from caloforge.training.memory import keep_freed_memory

__all__ = ["GRIDS", "TurnTimes", "main"]

GRIDS = {"3dgan": "clic-ecal", "3dgan-angle": "clic-ecal-angle"}
"""The networks that can be timed, and the detectors that they were published for."""

ENERGIES = (10 * GEV, 500 * GEV)
TIMEOUT = timedelta(seconds=300)

TurnTimes = dict[str, float | list[list[float]]]
"""``compute_s``, ``cpu_s``, ``waiting_s``, ``communication_s`` of one turn, and ``ready``: for each parameter
in the order in which its gradient is finished the bytes, and how long before the end (s)."""


class TrainState:
    """Networks, optimisers and a stream of showers; the same weights on every rank of a seed."""

    def __init__(self, model: str, seed: int, ranks: Ranks, *, within: bool) -> None:
        grid = load_detector(GRIDS[model]).grid
        torch.manual_seed(seed)
        family, energy_N = MODELS[model], np.array(ENERGIES)
        self._shape, self._random = grid.shape, stream(seed, "bench-scaling")
        domain = Domain(ENERGIES)
        showers = TrainingShowers(
            grid, 0.001, domain, energy_N, lambda: 0.02 * energy_N, lambda: self.batch(2)
        )
        self.objective = family.begin(family.settings(model=model), showers)
        self.optimizers = {
            name: self.objective.optimizer(network, 1e-3)
            for name, network in self.objective.networks.items()
        }
        self.ready: list[tuple[float, float]] = []
        self.world, self.sums = ranks.world, dict[str, SummedGradients]()
        for name, network in self.objective.networks.items():
            if within:
                self.sums[name] = SummedGradients(network, Group(ranks))
                continue
            for parameter in network.parameters():
                parameter.register_post_accumulate_grad_hook(self._note)  # type: ignore[no-untyped-call]

    def _note(self, parameter: torch.Tensor) -> None:
        self.ready.append((parameter.nbytes, time.perf_counter()))

    def batch(self, size: int) -> Batch:
        """Make showers up: what they hold changes no time."""
        cells = self._random.exponential(0.1, (size, *self._shape)) * (
            self._random.random((size, *self._shape)) < 0.1
        )
        energy = self._random.uniform(*ENERGIES, size)
        return Batch(
            torch.from_numpy(cells.astype(np.float32)),
            Given.of(torch.from_numpy(energy.astype(np.float32))),
        )

    def step(self, size: int) -> list[TurnTimes]:
        """Take one step, and time it."""
        batch = self.batch(size)
        dist.barrier()
        times: list[TurnTimes] = []
        started, cpu = time.perf_counter(), time.process_time()
        for loss_step in self.objective.losses(batch):
            name = loss_step.network
            network, optimizer = self.objective.networks[name], self.optimizers[name]
            optimizer.zero_grad(set_to_none=True)
            self.ready.clear()
            loss_step.loss.backward()  # type: ignore[no-untyped-call]
            ended = time.perf_counter()
            apart = self.world > 1 and not self.sums
            flat = packed(network) if apart else None
            computed, spent = time.perf_counter(), time.process_time() - cpu
            arrived = computed
            if flat is not None:
                dist.barrier()
                arrived = time.perf_counter()
                dist.all_reduce(flat)
            elif self.sums:
                self.sums[name].wait()
            # A lone rank has nothing to send: what passes here is the clock's own time.
            reduced = time.perf_counter() if self.world > 1 else arrived
            cpu = time.process_time()
            if flat is not None:
                unpack(flat / self.world, network)
            optimizer.step()
            done = time.perf_counter()
            times.append(
                {
                    "compute_s": computed - started + done - reduced,
                    "cpu_s": spent + time.process_time() - cpu,
                    "waiting_s": arrived - computed,
                    "communication_s": reduced - arrived,
                    "ready": [[size_bytes, ended - at] for size_bytes, at in self.ready],
                }
            )
            started, cpu = done, time.process_time()
        return times


def packed(network: nn.Module) -> torch.Tensor:
    """Copy the gradients into one message."""
    return torch.cat([p.grad.reshape(-1) for p in network.parameters() if p.grad is not None])


def unpack(flat: torch.Tensor, network: nn.Module) -> None:
    """Copy a message back into the gradients."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def main(rank: int, world: int, store: str, seed: int) -> None:
    """Be one rank until stdin ends, with OMP_NUM_THREADS threads."""
    keep_freed_memory()  # as the training loop does
    dist.init_process_group("gloo", f"file://{store}", TIMEOUT, world, rank)
    ranks = Ranks(rank, world, rank, world)
    trainee = cache(lambda model, sending: TrainState(model, seed, ranks, within=sending == "within"))
    for line in sys.stdin:
        model, size, sending = line.split()
        sys.stdout.write(json.dumps(trainee(model, sending).step(int(size))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
