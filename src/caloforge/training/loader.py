"""Batches for training: a pure function of seed, step and rank, read ahead in the background."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.files.training_store import ShowerStore
from caloforge.foundations.errors import UsageError
from caloforge.foundations.randomness import stream
from caloforge.showers.batch import Batch, Given
from caloforge.training.augmentation import Move, check_symmetries, symmetry_moves

__all__ = ["Loader", "take_batch"]


def take_batch(
    store: ShowerStore,
    index_B: NDArray[np.int64],
    moves: Sequence[Move] | None = None,
    share: float = 1.0,
) -> Batch:
    """Read showers of a store as a batch, each moved by a symmetry."""
    given = Given.tensors(store.conditions[index_B])
    if moves is not None:
        phi_B = [move.azimuth(phi) for move, phi in zip(moves, given.phi_B.tolist(), strict=True)]
        impact_B2 = given.impact_mm_B2.numpy()
        if store.conditions.impact_xy is not None:
            impact_B2 = np.stack([m.impact(xy) for m, xy in zip(moves, impact_B2, strict=True)])
        given = given._replace(
            phi_B=torch.tensor(phi_B), impact_mm_B2=torch.from_numpy(impact_B2.astype(np.float32))
        )
    cells = None if moves is None else [move.cells_C for move in moves]
    return Batch(torch.from_numpy(store.dense(index_B, moves=cells)), given, share)


class Loader:
    """Deals the showers ``index_N`` of a store out to the ranks, each shower once an epoch.

    An epoch is ``steps_per_epoch`` = ceil(N / (batch_size * world_size)) steps. Its permutation is cut
    into that many batches of nearly the same size and each of these among the ranks, so batches have
    at most ``batch_size`` showers and none is tiny. Nothing depends on what was drawn before: to
    resume, ask for the next step.

    Raises UsageError if there are too few showers for the ranks, or if the geometry lacks one of the
    symmetries in ``augmentations``.
    """

    def __init__(
        self,
        store: ShowerStore,
        index_N: NDArray[np.int64],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        augmentations: Sequence[str] = (),
        prefetch: int = 2,
    ) -> None:
        if batch_size < 1 or prefetch < 1 or not 0 <= rank < world_size:
            raise ValueError("expected batch_size >= 1, prefetch >= 1 and 0 <= rank < world_size")
        self.steps_per_epoch = max(1, -(-len(index_N) // (batch_size * world_size)))
        if len(index_N) // self.steps_per_epoch < world_size:
            raise UsageError(
                f"{len(index_N)} showers to train on are too few for {world_size} workers with "
                f"batch_size {batch_size}: some would have none in a step"
            )
        check_symmetries(augmentations, store.grid, store.conditions[index_N])
        self._store, self._index_N = store, index_N
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._prefetch = prefetch
        self._moves = symmetry_moves(store.grid, augmentations) if augmentations else None
        self._shuffled: tuple[int, NDArray[np.int64], NDArray[np.uint32] | None] | None = None

    def batch(self, step: int) -> Batch:
        """Make this rank's batch of a step, counted from the start of the training."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        order_N, move_N = self._shuffle(epoch)
        step_N = _part(order_N, self.steps_per_epoch, step_in_epoch)
        index_B = _part(step_N, self._world_size, self._rank)
        moves = None
        if self._moves is not None and move_N is not None:
            moves = [self._moves[m] for m in move_N[index_B]]
        return take_batch(self._store, index_B, moves, share=len(index_B) / len(step_N))

    def iterate(self, first_step: int, last_step: int) -> Iterator[tuple[int, Batch]]:
        """Return steps ``first_step`` up to, not including, ``last_step`` with their batches.

        A thread makes the next batches meanwhile; it ends with the iterator, however that ends.
        """
        steps = range(first_step, last_step)
        with ThreadPoolExecutor(1, thread_name_prefix="caloforge-loader") as thread:
            ahead = deque(thread.submit(self.batch, step) for step in steps[: self._prefetch])
            try:
                for step in steps:
                    batch = ahead.popleft().result()
                    if step + self._prefetch < last_step:
                        ahead.append(thread.submit(self.batch, step + self._prefetch))
                    yield step, batch
            finally:
                thread.shutdown(cancel_futures=True)

    def _shuffle(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.uint32] | None]:
        """Return an epoch's order of showers, and the move of cells of every shower of the store."""
        kept = self._shuffled
        if kept is None or kept[0] != epoch:
            order_N = stream(self._seed, "permutation", epoch).permutation(self._index_N)
            move_N = None
            if self._moves is not None:
                draws = stream(self._seed, "augmentation", epoch)
                move_N = draws.integers(len(self._moves), size=len(self._store), dtype=np.uint32)
            self._shuffled = kept = (epoch, order_N, move_N)
        return kept[1:]


def _part(index_N: NDArray[np.int64], parts: int, which: int) -> NDArray[np.int64]:
    """Return ``np.array_split(index_N, parts)[which]`` without making the other parts."""
    size, longer = divmod(len(index_N), parts)
    start = which * size + min(which, longer)
    return index_N[start : start + size + (which < longer)]
