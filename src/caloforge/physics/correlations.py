"""Correlations between a shower's layers: does energy here go with energy there as it should?

``layer_correlation.mean_abs_error``
    Mean of |candidate - reference| over all pairs of layers of Pearson's correlation of their shares of
    the total deposit, over the kept showers. Layers that never vary are left out.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from caloforge.physics.accumulate import Sample
from caloforge.physics.comparison import N_SPLITS, Metrics, finite
from caloforge.streams import stream

__all__ = ["correlation_metrics", "layer_correlation"]

Array = NDArray[np.float64]


def layer_correlation(sample: Sample) -> Array:
    """Correlate the layers' shares of the deposit over the kept showers, (layers, layers)."""
    return _correlation(_shares(sample)[0])


def correlation_metrics(reference: Sample, candidate: Sample) -> Metrics:
    """Compute the number of this module with its error (jackknife) and floor (halves of the reference)."""
    (ours, group_ours), (theirs, group_theirs) = _shares(reference), _shares(candidate)
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


def _shares(sample: Sample) -> tuple[Array, NDArray[np.int64]]:
    """Give the layers' shares of the deposit (K, layers) and the groups of the showers that have any."""
    deposit_KZ = sample.vectors[f"profile_{sample.grid.axes[2]}"].astype(np.float64)
    total_K = deposit_KZ.sum(axis=1)
    filled_K = total_K > 0
    share_KZ = deposit_KZ[filled_K] / total_K[filled_K, None]
    return np.asarray(share_KZ), sample.group_N[sample.kept][filled_K]


def _correlation(share_KZ: Array) -> Array:
    """Pearson's correlation of columns (n, n); NaN where one never varies."""
    centred_KZ = share_KZ - share_KZ.mean(axis=0)
    covariance_ZZ: Array = centred_KZ.T @ centred_KZ
    spread_Z = np.sqrt(np.diag(covariance_ZZ))
    scale_ZZ = np.outer(spread_Z, spread_Z)
    out_ZZ = np.full_like(covariance_ZZ, np.nan)
    np.divide(covariance_ZZ, scale_ZZ, out=out_ZZ, where=scale_ZZ > 0)
    return out_ZZ


def _difference(ours_KZ: Array, theirs_KZ: Array) -> float:
    if min(len(ours_KZ), len(theirs_KZ)) < 3:
        return math.nan
    pairs = np.triu_indices(ours_KZ.shape[1], 1)
    errors = np.abs(_correlation(theirs_KZ) - _correlation(ours_KZ))[pairs]
    errors = errors[np.isfinite(errors)]
    return float(errors.mean()) if len(errors) else math.nan
