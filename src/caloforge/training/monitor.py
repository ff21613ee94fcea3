"""A short physics check: is the sampling fraction right, and do mean showers have the right shape?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caloforge.io.store import ShowerStore
from caloforge.models.base import ShowerModel
from caloforge.showers import Conditions

__all__ = ["PhysicsCheck"]

CHUNK = 32
ENERGY_BINS = 4


@dataclass(frozen=True)
class _Means:
    """Sampling fraction per energy bin, and mean profile (normalised to 1) per axis."""

    fraction_bins: NDArray[np.float64]
    profiles: dict[str, NDArray[np.float64]]


class PhysicsCheck:
    """Compares showers of a model with real ones of the same energies and angles.

    ``index_N`` are the showers of ``store`` to compare with: ones that are not trained on.
    """

    def __init__(self, store: ShowerStore, index_N: NDArray[np.int64], seed: int) -> None:
        self._grid, self._seed = store.grid, seed
        order = np.argsort(store.conditions.incident_energy[index_N], kind="stable")
        self._index = index_N[order]
        self._conditions = store.conditions[self._index]
        pieces = np.array_split(np.arange(len(index_N)), min(ENERGY_BINS, len(index_N)))
        self._bins = [slice(piece[0], piece[-1] + 1) for piece in pieces]
        self._real = self._means(
            store.dense(self._index[start : start + CHUNK]) for start in self._starts()
        )

    def __call__(self, model: ShowerModel) -> dict[str, float]:
        """Generate the showers and give the errors; ``score`` (smaller is better) sums them up.

        ``sampling_fraction_ratio`` is the mean over energy bins of generated over real fraction,
        ``sampling_fraction_error`` the mean of the ratio's distance from 1, and ``shape_*_error``
        the absolute difference of the mean profiles along an axis, both normalised to 1, summed.
        """
        fake = self._means(
            model.sample(self._chunk(start), self._seed, first=start) for start in self._starts()
        )
        ratio = fake.fraction_bins / np.maximum(self._real.fraction_bins, 1e-12)
        result = {
            "sampling_fraction_ratio": float(ratio.mean()),
            "sampling_fraction_error": float(np.abs(ratio - 1).mean()),
        }
        shapes = {
            f"shape_{axis}_error": float(np.abs(fake.profiles[axis] - real).sum())
            for axis, real in self._real.profiles.items()
        }
        score = result["sampling_fraction_error"] + float(np.mean(list(shapes.values())))
        return {**result, **shapes, "score": score}

    def _starts(self) -> range:
        return range(0, len(self._index), CHUNK)

    def _chunk(self, start: int) -> Conditions:
        return self._conditions[start : start + CHUNK]

    def _means(self, chunks: Iterable[NDArray[np.float32]]) -> _Means:
        totals = []
        image_XYZ = np.zeros(self._grid.shape)
        for deposits_NXYZ in chunks:
            totals.append(deposits_NXYZ.sum(axis=(1, 2, 3), dtype=np.float64))
            image_XYZ += deposits_NXYZ.sum(axis=0, dtype=np.float64)
        fraction_N = np.concatenate(totals) / self._conditions.incident_energy
        image_XYZ /= max(float(image_XYZ.sum()), 1e-12)
        across = {0: (1, 2), 1: (0, 2), 2: (0, 1)}
        return _Means(
            np.array([fraction_N[piece].mean() for piece in self._bins]),
            {name: image_XYZ.sum(axis=across[axis]) for axis, name in enumerate(self._grid.axes)},
        )
