"""A network that tells samples of showers apart by their cells.

It sees, each shifted and scaled by its mean and spread over the training showers,

- the cells: log(1 + deposit / u), where u is the deposit that 1 % of the training hits lie below;
- the same summed along each axis and over all, besides hits and deposit / incident energy, in logarithms;
- the conditions.

Two hidden layers of 64, leaky ReLU, dropout 0.2, AdamW with learning rate 0.002 and weight decay 0.1,
batches of 128, cross entropy. Training ends when the loss on the validation part has not improved for 8
epochs, when it is below 0.005 (told apart), or after 60; the best epoch counts. With hundreds of showers
the cells alone are learned by heart within two epochs; sums along the axes are what a layer with shared
weights would find. Cells therefore enter with a small scale, as if all of them were 30 inputs. Showers are
unpacked batch by batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from caloforge.comparison.statistics.folds import Fold
from caloforge.observables.sparse_showers import SparseShowers

__all__ = ["CellInputs", "fit_cells"]

Array = NDArray[np.float64]

WIDTH = 64
DROPOUT = 0.2
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.1
BATCH = 128
CHUNK = 256
MAX_EPOCHS = 60
PATIENCE = 8
TOLD_APART = 0.005
CELL_WEIGHT = 30.0


@dataclass(frozen=True, eq=False)
class CellInputs:
    """Showers of both samples: ``hits`` on a grid of ``shape``, ``conditions_NC``, ``energy_N`` (MeV)."""

    hits: SparseShowers
    shape: tuple[int, int, int]
    conditions_NC: NDArray[np.floating[Any]]
    energy_N: NDArray[np.floating[Any]]

    def sums(self, value_H: NDArray[np.floating[Any]]) -> Array:
        """Add up a value of the hits along each axis and over all, (N, nx + ny + nz + 1); logarithms."""
        hits = self.hits
        places = zip(np.unravel_index(hits.cells, self.shape), self.shape, strict=True)
        parts = [hits.sum(value_H, place, size) for place, size in places]
        sums = np.concatenate([*parts, parts[2].sum(axis=1, keepdims=True)], axis=1)
        return np.asarray(np.log(sums + 1e-3 * sums.mean(axis=0) + 1e-9))


class Network(nn.Module):
    """Score showers: log odds for the label 1."""

    def __init__(self, n_cells: int, n_dense: int) -> None:
        super().__init__()
        self.cells = nn.Parameter(torch.zeros(n_cells, WIDTH))
        self.dense = nn.Linear(n_dense, WIDTH)
        self.rest = nn.Sequential(
            nn.LeakyReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(WIDTH, 1),
        )

    def forward(self, cells_BC: Tensor, dense_BD: Tensor) -> Tensor:
        """Score a batch by its cells and its other inputs, (B,)."""
        return torch.as_tensor(self.rest(cells_BC @ self.cells + self.dense(dense_BD))[:, 0])


def fit_cells(inputs: CellInputs, fold: Fold, label_N: Array, weight_N: Array, seed: int) -> Array:
    """Train on a fold; score its test showers. PyTorch's own generator is left as it was."""
    hits, train = inputs.hits, fold.train
    trained = hits.take(train)
    unit = np.quantile(trained.deposits, 0.01) if len(trained.deposits) else 1.0
    value_H = np.log1p(hits.deposits / np.float32(unit))
    mean_C, square_C = (
        np.bincount(trained.cells, np.log1p(trained.deposits / unit) ** power, minlength=hits.n_cells)
        / len(train)
        for power in (1, 2)
    )
    scale = CELL_WEIGHT / hits.n_cells / max(np.sqrt((square_C - mean_C**2).mean()), 1e-9)
    fractions = hits.deposits / inputs.energy_N[hits.shower]
    sums = [inputs.sums(value) for value in (value_H, np.ones_like(value_H), fractions)]
    dense_ND = np.concatenate([*sums, inputs.conditions_NC], axis=1)
    spread_D = dense_ND[train].std(axis=0)
    dense_ND = (dense_ND - dense_ND[train].mean(axis=0)) / np.where(spread_D > 1e-9, spread_D, 1.0)
    data = _Batches(
        hits,
        torch.from_numpy((value_H * scale).astype(np.float32)),
        torch.from_numpy((mean_C * scale).astype(np.float32)),
        torch.from_numpy(np.clip(dense_ND, -10, 10).astype(np.float32)),
    )
    label, weight = (torch.from_numpy(values.astype(np.float32)) for values in (label_N, weight_N))

    def loss(scores: Tensor, rows: NDArray[np.intp]) -> Tensor:
        return functional.binary_cross_entropy_with_logits(scores, label[rows], weight[rows])

    def score(rows: NDArray[np.intp]) -> Tensor:
        pieces = np.split(rows, range(CHUNK, len(rows), CHUNK))
        return torch.cat([network(*data(piece)) for piece in pieces])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(hits.n_cells, dense_ND.shape[1])
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        best, scores, waited = np.inf, np.zeros(len(fold.test)), 0
        for _ in range(MAX_EPOCHS):
            network.train()
            order = train[torch.randperm(len(train)).numpy()]
            for rows in np.split(order, range(BATCH, len(order), BATCH)):
                optimiser.zero_grad()
                loss(network(*data(rows)), rows).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            network.eval()
            with torch.no_grad():
                reached = float(loss(score(fold.validation), fold.validation))
                waited += 1
                if reached < best:
                    best, waited = reached, 0
                    scores = score(fold.test).numpy().astype(np.float64)
            if waited == PATIENCE or reached < TOLD_APART:
                break
    return scores


@dataclass(frozen=True, eq=False)
class _Batches:
    """The network's inputs for some rows; only these are unpacked."""

    hits: SparseShowers
    value_H: Tensor
    mean_C: Tensor
    dense_ND: Tensor

    def __call__(self, rows: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        counts = np.diff(self.hits.offsets)[rows]
        first = np.cumsum(counts) - counts
        where = np.arange(counts.sum()) + np.repeat(self.hits.offsets[:-1][rows] - first, counts)
        place = np.repeat(np.arange(len(rows)) * self.hits.n_cells, counts) + self.hits.cells[where]
        cells_BC = (-self.mean_C).repeat(len(rows), 1)
        cells_BC.view(-1)[place] += self.value_H[where]
        return cells_BC, self.dense_ND[rows]
