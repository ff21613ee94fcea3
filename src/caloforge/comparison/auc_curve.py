"""The AUC against the number of showers that a classifier is given: an AUC without it says nothing.

Sizes are fixed steps, so that two reports can be compared, and at the end all showers. The smaller samples
are drawn at random but always the same; where two files hold as many showers, at the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.progress import Part, Progress, silent
from caloforge.foundations.randomness import stream

__all__ = ["FLOOR", "OWN", "SIZES", "Auc", "Curve", "auc_curve", "sizes", "with_floors"]

SIZES = (400, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
"""Showers of each sample."""

OWN, FLOOR = ("sizes", "auc", "auc_err"), ("floor_sizes", "floor", "floor_err")

Curve = dict[str, list[Any]]
"""Lists, as in metrics.json: a candidate's are :data:`OWN`, those of the reference's halves :data:`FLOOR`."""

Auc = tuple[float | None, float | None]
"""AUC and its error."""


class _Showers(Protocol):
    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.intp]) -> Self: ...


S = TypeVar("S", bound=_Showers)


def sizes(n_showers: int) -> tuple[int, ...]:
    """Return the fixed sizes below a number of showers, and that number."""
    return (*(size for size in SIZES if size < n_showers), n_showers)


def auc_curve(
    classify: Callable[[S, S, Progress], Auc],
    pair: tuple[S, S],
    whole: Auc,
    *,
    progress: Progress = silent,
) -> Curve:
    """Classify ever more showers of two samples; ``whole`` is what all of them gave."""
    steps, found = sizes(min(map(len, pair))), []
    for size, part in zip(steps[:-1], Part(progress).shares(steps[:-1]), strict=True):
        part(0, 1)
        orders = (stream(0, "auc curve").permutation(len(sample)) for sample in pair)
        ours, theirs = (s.take(np.sort(o[:size])) for s, o in zip(pair, orders, strict=True))
        found.append(classify(ours, theirs, part))
    areas, errors = zip(*found, whole, strict=True)
    return {"sizes": list(steps), "auc": list(areas), "auc_err": list(errors)}


def with_floors(curves: Mapping[str, Curve], floors: Mapping[str, Curve]) -> dict[str, Curve]:
    """Put beside each kind's curve that of the reference's one half against the other."""
    return {
        kind: {**curve, **{name: floors[kind][key] for key, name in zip(OWN, FLOOR, strict=True)}}
        for kind, curve in curves.items()
    }
