"""Reconstructed energy: what the incident energy looks like from a shower's observables.

It stands in for the discriminator's energy of the published 3DGAN plots, and is the same for every
generator. Gradient boosting learns log(incident energy / total deposit) from the reference's showers,
cross-fitted (:mod:`caloforge.comparison.statistics.folds`): a fold of either file is predicted by the model that has
not seen the reference's showers of that fold, so both files are treated alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.statistics.boosting import boost
from caloforge.comparison.statistics.folds import check_folds, fold_of, folds
from caloforge.foundations.randomness import stream_seed

__all__ = ["reconstruct_energy"]

Array = NDArray[np.float64]
Pair = tuple[NDArray[Any], NDArray[Any]]


def reconstruct_energy(
    features: Pair, deposits: Pair, groups: Pair, energy_N: NDArray[Any], *, seed: int = 0
) -> tuple[Array, Array]:
    """Reconstruct the energies (MeV) of the reference (N,) and of the candidate (M,).

    ``features`` (N, F) must not hold the conditions; ``deposits`` (N,) are the totals in MeV, and a
    shower without any is given zero; ``energy_N`` is the reference's incident energy, MeV. ``groups``
    as for :func:`caloforge.comparison.statistics.classifier.classify_features`. Raises CaloforgeError with too few
    showers, MissingExtraError without scikit-learn.
    """
    fold_N, fold_M = (fold_of(group) for group in groups)
    check_folds(fold_N, "reference")
    with np.errstate(divide="ignore"):
        target_N = np.log(np.asarray(energy_N, np.float64) / deposits[0])
    seen_N = np.isfinite(target_N)
    target_N, weight_N = np.where(seen_N, target_N, 0.0), seen_N.astype(np.float64)
    found = tuple(np.zeros(len(rows)) for rows in features)
    for part in folds(fold_N):
        train, validation = (
            (features[0][rows], target_N[rows], weight_N[rows]) for rows in (part.train, part.validation)
        )
        rows_M = np.flatnonzero(fold_M == part.number)
        judged = np.concatenate([features[0][part.test], features[1][rows_M]])
        seed_of_fold = stream_seed(seed, "reconstruction", part.number)
        factor = np.exp(boost("Regressor", train, validation, judged, seed=seed_of_fold))
        found[0][part.test] = factor[: len(part.test)] * deposits[0][part.test]
        found[1][rows_M] = factor[len(part.test) :] * deposits[1][rows_M]
    return found[0], found[1]
