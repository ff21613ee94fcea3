"""The CaloChallenge's classifier, built, trained and read as in its evaluation code.

Three hidden layers of 2,048, leaky ReLU, no dropout; cross entropy, Adam with learning rate 2e-4, batches of
1,000, 50 epochs. Of each sample 60 % train, 20 % choose the epoch, the first of the highest accuracy, and 20 %
are judged. Their probabilities are calibrated by isotonic regression on the second part, which makes ties, and
the AUC counts ties half. Numbers have double precision. A GPU is used if there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from caloforge.comparison.calochallenge.inputs import Inputs
from caloforge.comparison.statistics.classifier import roc_area
from caloforge.foundations.progress import Progress, silent
from caloforge.foundations.randomness import stream, stream_seed
from caloforge.observables.sparse_showers import SparseShowers

__all__ = ["PUBLISHED", "Kind", "Settings", "calibrate", "classify", "divide"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Kind = Literal["low", "high"]
"""Voxels or observables."""

CERTAIN = 1e-6
"""Calibrated probabilities stay so far from 0 and 1."""


@dataclass(frozen=True)
class Settings:
    """The published settings; tests take smaller ones."""

    layers: tuple[int, ...] = (2048, 2048, 2048)
    learning_rate: float = 2e-4
    batch: int = 1_000
    epochs: int = 50
    parts: tuple[float, float, float] = (0.6, 0.2, 0.2)


PUBLISHED = Settings()


def classify(
    reference: Inputs,
    candidate: Inputs,
    kind: Kind,
    runs: int,
    *,
    settings: Settings = PUBLISHED,
    seed: int = 0,
    progress: Progress = silent,
) -> Array:
    """Return the AUC of each run; every run divides the showers anew and starts from other weights.

    Of the larger sample as many showers are drawn as the smaller one has.
    """
    n = len(reference)
    label = torch.from_numpy(np.repeat([0.0, 1.0], [n, len(candidate)]))
    table, areas = _table(reference, candidate, kind), []
    for run in range(runs):
        progress(run, runs)
        address = (kind, min(n, len(candidate)), run)
        halves = divide((n, len(candidate)), settings.parts, seed, *address)
        parts = [np.concatenate([ours, theirs + n]) for ours, theirs in zip(*halves, strict=True)]
        chosen, judged = _train(
            table, label, parts, settings, stream_seed(seed, "calochallenge", *address)
        )
        label_N, label_M = (label[rows].numpy() for rows in parts[1:])
        probability = calibrate(_sigmoid(chosen), label_N, _sigmoid(judged))
        areas.append(roc_area(probability[label_M == 0], probability[label_M == 1])[0])
    progress(runs, runs)
    return np.array(areas)


def divide(
    counts: tuple[int, int], parts: tuple[float, ...], seed: int, *address: str | int
) -> list[list[Rows]]:
    """Divide two samples into parts at random, each with as many showers of either.

    The last part takes what rounding leaves. Samples of one size are divided alike, so showers of equal conditions
    at the same place of both stay together.
    """
    n = min(counts)
    ends = np.cumsum([0, *(int(n * part) for part in parts[:-1])]).tolist()
    orders = [
        stream(seed, "calochallenge", "parts", *address).permutation(count)[:n] for count in counts
    ]
    return [[order[a:b] for a, b in pairwise([*ends, n])] for order in orders]


def _table(reference: Inputs, candidate: Inputs, kind: Kind) -> Callable[[Rows], Tensor]:
    """Return a function that looks up rows of both samples, the reference's first, as the network's inputs."""
    both = (reference, candidate)
    if kind == "high":
        table = torch.from_numpy(np.concatenate([each.observables_NF for each in both]))
        return lambda rows: table[rows]
    hits = SparseShowers.join([each.hits for each in both])
    energy = np.concatenate([each.log_energy_N for each in both])[:, None]
    return lambda rows: torch.from_numpy(np.concatenate([energy[rows], hits.take(rows).dense()], axis=1))


def _train(
    table: Callable[[Rows], Tensor], label: Tensor, parts: list[Rows], settings: Settings, seed: int
) -> tuple[Array, Array]:
    """Train on the first part; score the second and the third as of the epoch that is best on the second."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, choosing, judged = parts
    truth = label[choosing].numpy() > 0.5

    def pieces(rows: Rows) -> list[Rows]:
        return np.split(rows, range(settings.batch, len(rows), settings.batch))

    @torch.no_grad()
    def score(rows: Rows) -> Array:
        found = [network(table(piece).to(device))[:, 0].cpu() for piece in pieces(rows)]
        return np.asarray(torch.cat(found).numpy())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(table(train[:1]).shape[1], settings.layers).double().to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
        best, scores = -1.0, (np.zeros(0), np.zeros(0))
        for _ in range(settings.epochs):
            order = train[torch.randperm(len(train)).numpy()]
            for rows in pieces(order):
                optimiser.zero_grad()
                given = network(table(rows).to(device))[:, 0]
                loss = functional.binary_cross_entropy_with_logits(given, label[rows].to(device))
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            found = score(choosing)
            accuracy = float(np.mean((found > 0) == truth))
            if accuracy > best:
                best, scores = accuracy, (found, score(judged))
            if accuracy == 1:
                break
    return scores


def _network(n_inputs: int, layers: tuple[int, ...]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for before, after in pairwise((n_inputs, *layers)):
        modules += [nn.Linear(before, after), nn.LeakyReLU()]
    return nn.Sequential(*modules, nn.Linear(layers[-1], 1))


def _sigmoid(scores: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(scores, -500, 500))))


def calibrate(given_N: Array, label_N: NDArray[Any], others_M: Array) -> Array:
    """Learn from labels 0 and 1 what probabilities mean, by isotonic regression; correct others.

    Neighbours out of order are averaged until none is; in between the line is straight, beyond it level.
    """
    value_V, place_N = np.unique(given_N, return_inverse=True)
    weight_V = np.bincount(place_N).astype(np.float64)
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(np.bincount(place_N, label_N) / weight_V, weight_V, strict=True):
        block = (float(mean), float(weight), 1)
        while blocks and blocks[-1][0] >= block[0]:
            before = blocks.pop()
            total = before[1] + block[1]
            mean = (before[0] * before[1] + block[0] * block[1]) / total
            block = (mean, total, before[2] + block[2])
        blocks.append(block)
    means, _, counts = zip(*blocks, strict=True)
    fitted_V = np.clip(np.repeat(means, counts), CERTAIN, 1 - CERTAIN)
    return np.asarray(np.interp(others_M, value_V, fitted_V))
