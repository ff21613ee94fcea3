"""FPD and KPD as jetnet computes them (Kansal et al., arXiv:2211.10295) and the CaloChallenge asks for them.

Features are divided by their largest magnitude in the reference. Batches are drawn with replacement, by
jetnet's own random numbers. FPD: 20 batches at each of ten sizes of 10,000 to 50,000, equally spaced in 1/size;
the means are extended to infinite size by a line with neither intercept nor slope below zero, and the error is
that of the line's intercept. KPD: the median of ten batches of 10,000, and half the range of the middle 67 %.

Sizes of batches do not depend on the samples': of samples that are smaller both distances are much too large, and a
half of the reference against the other says by how much. A shower drawn several times is counted, not copied.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.statistics.distances import frechet_distance

__all__ = ["published_fpd", "published_kpd"]

Array = NDArray[np.float64]
Features = NDArray[np.floating[Any]]

SEED = 42
ROWS_AT_ONCE = 1_024


def published_fpd(
    reference_NF: Features,
    candidate_MF: Features,
    *,
    smallest: int = 10_000,
    largest: int = 50_000,
    points: int = 10,
    batches: int = 20,
) -> tuple[float, float]:
    """Return the Fréchet physics distance of two samples, extended to infinite size, and the fit's error."""
    pair = _scale(reference_NF, candidate_MF)
    random = np.random.default_rng(SEED)
    sizes = (1 / np.linspace(1 / smallest, 1 / largest, points)).astype(np.int32)
    means = []
    for size in sizes:
        found = []
        for _ in range(batches):
            fits = [_gauss(x, random.choice(len(x), size)) for x in pair]
            found.append(frechet_distance(*fits[0], *fits[1]))
        means.append(np.mean(found))
    return _extend(1 / sizes, np.array(means))


def published_kpd(
    reference_NF: Features, candidate_MF: Features, *, size: int = 10_000, batches: int = 10
) -> tuple[float, float]:
    """Return the kernel physics distance of two samples, the median over batches, and its spread."""
    pair = _scale(reference_NF, candidate_MF)
    found = []
    for batch in range(batches):
        random = np.random.default_rng(SEED + 1000 * batch)
        drawn = [_counted(len(x), random.choice(len(x), size)) for x in pair]
        (x, a), (y, b) = ((x[rows], count) for x, (rows, count) in zip(pair, drawn, strict=True))
        same = sum(
            (_kernel_sum(z, c, z, c) - float(c @ _kernel((z**2).sum(axis=1) / z.shape[1])))
            for z, c in ((x, a), (y, b))
        )
        found.append(same / (size * (size - 1)) - 2 * _kernel_sum(x, a, y, b) / size**2)
    low, middle, high = np.percentile(found, (16.275, 50, 83.725))
    return float(middle), float(high - low) / 2


def _scale(reference_NF: Features, candidate_MF: Features) -> tuple[Array, Array]:
    largest_F = np.abs(reference_NF).max(axis=0)
    largest_F[largest_F == 0] = 1
    return np.asarray(reference_NF / largest_F), np.asarray(candidate_MF / largest_F)


def _counted(n: int, drawn: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], Array]:
    """Return which rows of n were drawn, and how often."""
    count_N = np.bincount(drawn, minlength=n)
    rows = np.flatnonzero(count_N)
    return rows, count_N[rows].astype(np.float64)


def _gauss(x_NF: Array, drawn: NDArray[np.integer[Any]]) -> tuple[Array, Array]:
    """Return mean and covariance of the drawn rows."""
    rows, count = _counted(len(x_NF), drawn)
    x = x_NF[rows]
    mean_F = count @ x / len(drawn)
    x = (x - mean_F) * np.sqrt(count)[:, None]
    return mean_F, x.T @ x / (len(drawn) - 1)


def _kernel(products: Array) -> Array:
    return np.square(np.square(products + 1))


def _kernel_sum(x_NF: Array, count_N: Array, y_MF: Array, count_M: Array) -> float:
    """Add up the kernel (x·y / F + 1)⁴ over all pairs of drawn rows."""
    total = 0.0
    for start in range(0, len(x_NF), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        total += float(count_N[rows] @ _kernel(x_NF[rows] @ y_MF.T / x_NF.shape[1]) @ count_M)
    return total


def _extend(inverse_P: Array, mean_P: Array) -> tuple[float, float]:
    """Fit a line with intercept and slope of at least zero; return its value at 0 and the error.

    The error is that of the line without bounds, with the scatter about the line that was fitted.
    """
    line = np.stack([np.ones_like(inverse_P), inverse_P], axis=1)
    free = np.linalg.lstsq(line, mean_P, rcond=None)[0]
    through_zero = np.array([0.0, max(0.0, inverse_P @ mean_P / (inverse_P @ inverse_P))])
    level = np.array([max(0.0, mean_P.mean()), 0.0])
    bounded = min(through_zero, level, key=lambda fit: float(np.sum((mean_P - line @ fit) ** 2)))
    fit = free if (free >= 0).all() else bounded
    scatter = np.sum((mean_P - line @ fit) ** 2) / (len(mean_P) - 2)
    return float(fit[0]), math.sqrt(scatter * np.linalg.inv(line.T @ line)[0, 0])
