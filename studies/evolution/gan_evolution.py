"""Evolution of a GAN: generators with their critics, adversarial steps as an operator, fitness from physics.

A child takes over the networks and optimisers of one of the best. Its learning rate changes, its generator may get
random updates, and it trains for a few steps against its critic. What it is worth the showers that it makes then
say, and no loss.

Source: C. Wang et al., Evolutionary generative adversarial networks, 2019 (arXiv 1803.00657): fitness from quality
and diversity; there the mutations are losses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from caloforge.files.shower_file import ShowerFile
from caloforge.files.training_store import ShowerStore
from caloforge.foundations.randomness import stream, stream_seed
from caloforge.models.objective import Objective
from caloforge.training.begin import build_objective
from caloforge.training.checkpoint import TrainState
from caloforge.training.config import TrainingConfig, load_config
from caloforge.training.loader import Loader
from caloforge.training.split import Split, prepare_data
from studies import mixer_gan
from studies.evolution.gan_fitness import ShowerFitness
from studies.evolution.steady_state import Member

__all__ = ["GanProblem"]

HELD, JUDGED = 0.4, 200
"""Of the showers nothing is trained on: half of them judge, at most so many, and half test."""

RATE_SPREAD, NOISE, NOISY = 0.5, 0.02, 0.5
"""Of the learning rate's logarithm; of a random update, in the spread of a layer's weights; how often one comes."""


@dataclass(frozen=True)
class GanProblem:
    """Generators of a ``family`` on the showers of ``data``; a child takes ``steps`` of ``batch`` showers.

    The best ``parents`` live on. With none, there is no evolution: the newest lives, and nothing changes but by its steps.
    """

    data: Path
    seed: int
    parents: int
    family: str = "mixer-gan"
    steps: int = 10
    batch: int = 16

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Name what decides the results beside the data."""
        return {
            "seed": self.seed,
            "parents": self.parents,
            "family": self.family,
            "steps": self.steps,
            "batch": self.batch,
        }

    def survivors(self, notes: Mapping[int, Any]) -> Sequence[int]:
        """Choose the best, or the best and the newest."""
        best = sorted(notes, key=lambda number: (notes[number]["fitness"], number))
        if self.parents == 0:  # the best lives to be quoted
            return sorted({*best[:1], *sorted(notes)[-1:]})
        return best[: self.parents]

    def child(
        self, number: int, members: Sequence[Member]
    ) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Train a child of one of the members, or the first network."""
        began = time.process_time()
        state, draws = self._state, stream(self.seed, "child", number)
        rate = self._config.learning_rate
        if members:
            parent = members[int(draws.integers(len(members)))] if self.parents else members[-1]
            state.load(parent.tensors())
            rate = float(parent.note["learning_rate"])
        else:
            state.load(self._first)
        if self.parents:
            rate *= float(np.exp(RATE_SPREAD * draws.standard_normal()))
            if members and draws.random() < NOISY:
                shake(self._objective.model, draws)
        self._train(number, rate)
        note = {"learning_rate": rate, **self._fitness(self._objective.model)}
        return state.tensors(), {**note, "core_s": time.process_time() - began}

    def judge(self, member: Member, test: Path | None) -> dict[str, float]:
        """Judge one that lives by the showers of another file, or by half of those that nothing was trained on."""
        self._state.load(member.tensors())
        if test is None:
            return self._fitness_of(self._split.validation_N[1::2])(self._objective.model)
        with ShowerFile(test) as file:
            return ShowerFitness(file.read(), self.seed)(self._objective.model)

    def _train(self, number: int, rate: float) -> None:
        loader = Loader(
            self._store,
            self._split.train_N,
            batch_size=self.batch,
            seed=stream_seed(self.seed, "batches", number),
        )
        for step in range(self.steps):
            torch.manual_seed(stream_seed(self.seed, "step", number, step))
            for turn in self._objective.losses(loader.batch(step)):
                optimizer = self._state.optimizers[turn.network]
                optimizer.zero_grad(set_to_none=True)
                turn.loss.backward()  # type: ignore[no-untyped-call]
                for settings in optimizer.param_groups:
                    settings["lr"] = rate
                optimizer.step()

    @cached_property
    def _config(self) -> TrainingConfig:
        with mixer_gan.known():
            return load_config(base={"seed": self.seed}, model=self.family)

    @cached_property
    def _store(self) -> ShowerStore:
        return prepare_data(self._config, [self.data])

    @cached_property
    def _split(self) -> Split:
        return Split.of(self._store, self._config.model_copy(update={"validation_fraction": HELD}))

    @cached_property
    def _fitness(self) -> ShowerFitness:
        return self._fitness_of(self._split.validation_N[::2])

    def _fitness_of(self, index_N: NDArray[np.int64]) -> ShowerFitness:
        return ShowerFitness(self._store.showers(index_N[:JUDGED]), self.seed)

    @cached_property
    def _objective(self) -> Objective:
        torch.manual_seed(stream_seed(self.seed, "weights"))
        with mixer_gan.known():
            return build_objective(self._config, self._store, self._split.train_N)

    @cached_property
    def _state(self) -> TrainState:
        networks = self._objective.networks
        rate = self._config.learning_rate
        return TrainState(
            networks,
            {name: self._objective.optimizer(net, rate) for name, net in networks.items()},
        )

    @cached_property
    def _first(self) -> Mapping[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self._state.tensors().items()}


@torch.no_grad()
def shake(network: nn.Module, draws: np.random.Generator) -> None:
    """Add normal numbers to all weights, in proportion to the spread of their layer."""
    for parameter in network.parameters():
        noise = torch.from_numpy(draws.standard_normal(parameter.numel(), np.float32))
        spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
        parameter.add_(noise.view_as(parameter), alpha=NOISE * spread)
