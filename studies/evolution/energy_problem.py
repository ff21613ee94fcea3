"""The energy's regression for steady-state evolution: a child is a mutated network after a burst of gradient steps."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from caloforge.foundations.randomness import stream
from studies.evolution.genetic_algorithm import WORST_GEV, Individual, batches, mutated, predict_all
from studies.evolution.gradients import GRADIENT_COST
from studies.evolution.mutations import STRUCTURAL
from studies.evolution.networks import Architecture
from studies.evolution.projections import EnergyData, accuracy
from studies.evolution.seed_chains import Gene, first_network
from studies.evolution.steady_state import Member

__all__ = ["EnergyProblem"]

PARENTS = 4
STRUCTURE = 0.2
RATE, RATE_SPREAD = 0.02, 0.5
"""Of random updates at first, and how much a child's may differ, in the logarithm."""


@dataclass(frozen=True)
class EnergyProblem:
    """Networks for the energy regression; each child takes ``steps`` of RMSprop on ``batch`` showers."""

    data: EnergyData
    seed: int
    steps: int = 100
    batch: int = 32
    learning_rate: float = 0.003

    @property
    def evaluations(self) -> int:
        """Count what a child costs."""
        return GRADIENT_COST * self.steps * self.batch

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Name what decides the results beside the showers."""
        return {
            "seed": self.seed,
            "steps": self.steps,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
        }

    def survivors(self, notes: Mapping[int, Any]) -> Sequence[int]:
        """Choose the best."""
        return sorted(notes, key=lambda number: (notes[number]["fitness"], number))[:PARENTS]

    def child(
        self, number: int, members: Sequence[Member]
    ) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """Mutate one of the members and train it; while they are few, begin with a new network."""
        began = time.monotonic()
        draws = stream(self.seed, "child", number)
        rate = RATE
        if len(members) < PARENTS:
            network = Individual.of(first_network(self.seed, self._start, number))
        else:
            parent = members[int(draws.integers(len(members)))]
            rate = float(parent.note["rate"]) * float(np.exp(RATE_SPREAD * draws.standard_normal()))
            network, gene = self.read(parent), Gene("update", number, 0, rate)
            if draws.random() < STRUCTURE:
                structural = gene._replace(kind=str(draws.choice(STRUCTURAL)))
                network = mutated(self.seed, network, structural)
            network = mutated(self.seed, network, gene)
        taken = islice(batches(self.data.train, self.batch, self.seed, f"batch {number}"), self.steps)
        network = network.descended(taken, self.learning_rate)
        predicted_B = predict_all([network], self.data.validation)[0]
        rmse = accuracy(predicted_B, self.data.validation.energy_B).rmse_GeV
        note = {
            "fitness": rmse if np.isfinite(rmse) else WORST_GEV,
            "rate": rate,
            "channels": network.architecture.channels,
            "hidden": network.architecture.hidden,
            "worker": os.getpid(),
            "began_s": began,
            "ended_s": time.monotonic(),
            "core_s": time.process_time(),
        }
        tensors = {
            "weights": torch.from_numpy(network.weights_W),
            "squares": torch.from_numpy(network.squares_W),
        }
        return tensors, note

    def read(self, member: Member) -> Individual:
        """Read a network back."""
        tensors, note = member.tensors(), member.note
        _, patches, cells = self.data.train.patches_BNK.shape
        architecture = Architecture(patches, cells, note["channels"], tuple(note["hidden"]))
        return Individual(architecture, tensors["weights"].numpy(), tensors["squares"].numpy())

    @property
    def _start(self) -> Architecture:
        _, patches, cells = self.data.train.patches_BNK.shape
        return Architecture(patches, cells)
