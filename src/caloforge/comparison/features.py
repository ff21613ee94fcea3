"""Tables of observables for whatever judges whole showers: classifiers, distances, regressions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.samples import Sample
from caloforge.observables.definitions import OBSERVABLES

__all__ = ["KNOWS_THE_PARTICLE", "conditions_table", "feature_names", "feature_table"]

BY_LAYER = ("layer_x", "layer_y", "layer_width_x", "layer_width_y", "layer_sparsity")


KNOWS_THE_PARTICLE = {"sampling_fraction", "angle_error", "angle_error_x", "offset_x", "offset_y"}
"""Observables that use the incident particle's energy, angle or impact point."""


def feature_names(samples: Sequence[Sample]) -> tuple[str, ...]:
    """List the observables of one value that every sample has, and of those by layer.

    The latter are CaloChallenge's high-level features: each layer's deposit, barycentre, width, sparsity.
    Derived ones are left out, so that numbers can be compared with earlier ones.
    """
    by_layer = (f"profile_{samples[0].grid.axes[2]}", *BY_LAYER)
    known = (set(sample.values) | set(sample.vectors) for sample in samples)
    common = set.intersection(*known)
    return tuple(
        name
        for name, it in OBSERVABLES.items()
        if name in common and not (it.learned or it.derived) and (not it.along or name in by_layer)
    )


def feature_table(sample: Sample, names: Sequence[str]) -> NDArray[np.float64]:
    """Put observables of the kept showers side by side, (K, F); NaN where undefined."""
    columns = [
        sample.vectors[name] if OBSERVABLES[name].along else sample.values[name][sample.kept, None]
        for name in names
    ]
    return np.concatenate(columns, axis=1, dtype=np.float64)


def conditions_table(sample: Sample) -> NDArray[np.float64]:
    """Return the logarithm of the incident energy and the incident angle of the kept showers, (K, 2)."""
    conditions = sample.conditions[sample.kept]
    energy, theta = conditions.incident_energy, conditions.incident_theta
    return np.stack([np.log(energy), theta], axis=1, dtype=np.float64)
