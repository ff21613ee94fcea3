"""Correlations between a shower's layers: does energy here go with energy there as it should?

``layer_correlation.mean_abs_error``
    Mean of |candidate - reference| over all pairs of layers of Pearson's correlation of their shares of
    the total deposit, over the kept showers. Layers that never vary are left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import N_SPLITS, Metrics, finite
from caloforge.comparison.samples import Sample
from caloforge.foundations.randomness import stream
from caloforge.observables.image import divide

__all__ = ["correlate", "correlation_metrics", "layer_shares"]

Array = NDArray[np.float64]


def correlation_metrics(reference: Sample, candidate: Sample) -> Metrics:
    """Compute the number of this module with its error (jackknife) and floor (halves of the reference)."""
    pairs = []
    for sample in (reference, candidate):
        share_KZ = layer_shares(sample)
        filled_K = np.isfinite(share_KZ).all(axis=1)
        pairs.append((share_KZ[filled_K], sample.group_N[sample.kept][filled_K]))
    (ours, group_ours), (theirs, group_theirs) = pairs
    value = _difference(ours, theirs)
    n = reference.n_groups
    left_out = [_difference(ours[group_ours != g], theirs[group_theirs != g]) for g in range(n)]
    random = stream(0, "validate", "floors")
    halves = [random.permutation(len(ours)) < len(ours) // 2 for _ in range(N_SPLITS)]
    floor = float(np.mean([_difference(ours[half], ours[~half]) for half in halves]))
    n_ours, n_theirs = max(1, len(ours)), max(1, len(theirs))
    scale = (1 / n_ours + 1 / n_theirs) / (4 / n_ours)
    name = "layer_correlation.mean_abs_error"
    return {
        name: finite(value),
        f"{name}_err": finite(math.sqrt((n - 1) * float(np.var(left_out)))),
        f"{name}_floor": finite(floor * math.sqrt(scale)),
    }


def layer_shares(sample: Sample) -> Array:
    """Return the layers' shares of the deposit of the kept showers, (K, layers); NaN without deposit."""
    deposit_KZ = sample.vectors[f"profile_{sample.grid.axes[2]}"].astype(np.float64)
    return divide(deposit_KZ, deposit_KZ.sum(axis=1, keepdims=True))


def correlate(table_NM: Array) -> Array:
    """Return Pearson's correlation of the columns, (M, M); NaN where one never varies."""
    centred_NM = table_NM - table_NM.mean(axis=0)
    covariance_MM: Array = centred_NM.T @ centred_NM
    spread_M = np.sqrt(np.diag(covariance_MM))
    return divide(covariance_MM, np.outer(spread_M, spread_M))


def _difference(ours_KZ: Array, theirs_KZ: Array) -> float:
    if min(len(ours_KZ), len(theirs_KZ)) < 3:
        return math.nan
    pairs = np.triu_indices(ours_KZ.shape[1], 1)
    errors = np.abs(correlate(theirs_KZ) - correlate(ours_KZ))[pairs]
    errors = errors[np.isfinite(errors)]
    return float(errors.mean()) if len(errors) else math.nan
