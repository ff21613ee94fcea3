"""Fréchet and kernel physics distance, FPD and KPD (Kansal et al., arXiv:2211.10295).

Both compare two samples of features (N, F). Each feature is first shifted and scaled by the
reference's mean and spread; one that is constant there is dropped, and NaN becomes the mean. The
definitions are the published ones. The estimates differ in what samples of hundreds of showers, not
of 50,000, ask for:

- Features are scaled to unit spread, not to a largest value of 1, and clipped at five spreads: else one
  freak shower decides, since KPD takes fourth powers.
- Subsets are drawn without replacement: a shower that counts twice biases both distances.
- FPD: the subsets hold 1, 0.8, 0.65 and 0.5 of each sample, not 20,000 to 50,000 showers. The fit may
  end below zero, so that equal samples average to zero; its error is a delete-one-group jackknife, not
  the fit's, which does not know that all subsets come from one sample. The distance is linear in 1/n
  only where the smallest subset holds several times more showers than there are features: with 50
  features equal samples of 400 showers give zero within errors, with 240 they give more (see the floor).
- KPD: a batch is half of each sample, at most 5,000 showers. The half range between the 16.275 % and
  83.725 % quantiles of the batches (published) is then about the error of the whole sample's value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import CaloforgeError
from caloforge.foundations.randomness import stream

__all__ = ["fpd", "frechet_distance", "kernel_distance", "kpd", "standardise"]

Array = NDArray[np.float64]
Features = NDArray[np.floating[Any]]

PARTS = (1.0, 0.8, 0.65, 0.5)
N_ORDERS = 6
N_GROUPS = 10
N_BATCHES = 20
MAX_BATCH = 5_000
MIN_SHOWERS = 20
CLIP = 5.0


def standardise(reference_NF: Features, candidate_MF: Features) -> tuple[Array, Array]:
    """Scale both by the reference's means and spreads: see the module's docstring.

    Raises CaloforgeError with fewer than 20 showers, or if no feature varies.
    """
    for sample, name in ((reference_NF, "reference"), (candidate_MF, "candidate")):
        if len(sample) < MIN_SHOWERS:
            raise CaloforgeError(f"{name}: expected at least {MIN_SHOWERS} showers, found {len(sample)}")
    defined = np.isfinite(reference_NF)
    first = np.where(defined, reference_NF, 0.0)
    count_F = np.maximum(defined.sum(axis=0), 1)
    mean_F = first.sum(axis=0) / count_F
    spread_F = np.sqrt((np.where(defined, reference_NF - mean_F, 0.0) ** 2).sum(axis=0) / count_F)
    varies = spread_F > 1e-9 * np.abs(mean_F)
    if not varies.any():
        raise CaloforgeError("reference: expected observables that vary between showers, none does")
    ours, theirs = (
        np.clip(np.nan_to_num((sample[:, varies] - mean_F[varies]) / spread_F[varies]), -CLIP, CLIP)
        for sample in (reference_NF, candidate_MF)
    )
    return ours, theirs


def frechet_distance(mean_F: Array, cov_FF: Array, other_mean_F: Array, other_cov_FF: Array) -> float:
    """Return the squared Fréchet distance of two Gaussians, |m - m'|² + Tr(C + C' - 2 (C C')^(1/2))."""
    values, vectors = np.linalg.eigh(cov_FF)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # C C' and the symmetric C^(1/2) C' C^(1/2) have the same eigenvalues.
    shared = np.linalg.eigvalsh(root @ other_cov_FF @ root)
    overlap = np.sqrt(np.maximum(shared, 0)).sum()
    shift = mean_F - other_mean_F
    return float(shift @ shift + np.trace(cov_FF) + np.trace(other_cov_FF) - 2 * overlap)


def fpd(reference_NF: Features, candidate_MF: Features, *, seed: int = 0) -> tuple[float, float]:
    """Return the Fréchet physics distance, extrapolated to samples of infinite size, and its error.

    Raises CaloforgeError as :func:`standardise` does.
    """
    random = stream(seed, "fpd")
    pair = standardise(reference_NF, candidate_MF)
    orders = [[random.permutation(len(x)) for x in pair] for _ in range(N_ORDERS)]
    groups = [np.arange(len(x)) % N_GROUPS for x in pair]
    left = [
        _extrapolate(pair, [[o[g[o] != k] for o, g in zip(two, groups, strict=True)] for two in orders])
        for k in range(N_GROUPS)
    ]
    return _extrapolate(pair, orders), math.sqrt((N_GROUPS - 1) * np.var(left))


def _extrapolate(pair: tuple[Array, Array], orders: list[list[NDArray[np.intp]]]) -> float:
    """Average the distance of the first rows of each order, by their number; extend to 1/n = 0."""
    means = []
    for part in PARTS:
        used = orders if part < 1 else orders[:1]
        found = []
        for two in used:
            rows = (order[: round(part * len(order))] for order in two)
            fits = [_gauss(x[row]) for x, row in zip(pair, rows, strict=True)]
            found.append(frechet_distance(*fits[0], *fits[1]))
        means.append(np.mean(found))
    return float(np.polynomial.Polynomial.fit(1 / np.array(PARTS), means, 1)(0.0))


def _gauss(x_NF: Array) -> tuple[Array, Array]:
    return x_NF.mean(axis=0), np.atleast_2d(np.cov(x_NF, rowvar=False))


def kernel_distance(x_NF: Array, y_MF: Array) -> float:
    """Return the unbiased squared maximum mean discrepancy with the kernel (x·y / F + 1)⁴."""
    n, m = len(x_NF), len(y_MF)
    within_x, within_y, across = (
        (a @ b.T / a.shape[1] + 1) ** 4 for a, b in ((x_NF, x_NF), (y_MF, y_MF), (x_NF, y_MF))
    )
    return float(
        (within_x.sum() - np.trace(within_x)) / (n * (n - 1))
        + (within_y.sum() - np.trace(within_y)) / (m * (m - 1))
        - 2 * across.mean()
    )


def kpd(reference_NF: Features, candidate_MF: Features, *, seed: int = 0) -> tuple[float, float]:
    """Return the kernel physics distance: the median over batches, and their spread.

    Raises CaloforgeError as :func:`standardise` does.
    """
    random = stream(seed, "kpd")
    pair = standardise(reference_NF, candidate_MF)
    batches = []
    for _ in range(N_BATCHES):
        rows = (random.permutation(len(x))[: min(len(x) // 2, MAX_BATCH)] for x in pair)
        batches.append(kernel_distance(*(x[row] for x, row in zip(pair, rows, strict=True))))
    low, middle, high = np.quantile(batches, (0.16275, 0.5, 0.83725))
    return float(middle), float(high - low) / 2
