"""Samples that hold chosen values and nothing else, as the comparison at equal conditions reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.differences import Comparison
from caloforge.comparison.equal_conditions import Pair
from caloforge.comparison.samples import Sample
from caloforge.comparison.selections import INCLUSIVE
from caloforge.detector import Grid
from caloforge.foundations.units import GEV
from caloforge.observables.sparse_showers import SparseShowers
from caloforge.showers import Conditions

Array = NDArray[np.float64]


def sample(
    conditions: Conditions,
    values: Mapping[str, Array],
    profiles: Mapping[str, Array] | None = None,
) -> Sample:
    """Make a sample of observables of one value, and of profiles along axes whose sizes these have."""
    empty = np.zeros((0, 0, 0))
    profiles = {f"profile_{axis}": profile for axis, profile in (profiles or {}).items()}
    nx, ny, nz = (
        profiles[f"profile_{axis}"].shape[1] if f"profile_{axis}" in profiles else 1 for axis in "xyz"
    )
    return Sample(
        grid=Grid("synthetic", (nx, ny, nz)),
        conditions=conditions,
        selections=(INCLUSIVE,),
        group_N=np.zeros(len(conditions), np.int64),
        values={name: array.astype(np.float32) for name, array in values.items()},
        profiles={name: array.astype(np.float32) for name, array in profiles.items()},
        kept=np.zeros(0, np.int64),
        vectors={},
        hits=SparseShowers.of(np.zeros((0, 1, 1, 1), np.float32)),
        columns={},
        showers_SG=np.zeros((0, 0)),
        count_SGM=empty,
        first_SGM=empty,
        second_SGM=empty,
    )


def pair(reference: Sample, candidate: Sample) -> Pair:
    """Put reference and candidate side by side."""
    return Pair(Comparison(reference, candidate))


def scan(*energies_GeV: float, showers: int) -> Conditions:
    """Return so many showers of each energy."""
    return Conditions.of(np.repeat(np.array(energies_GeV) * GEV, showers))


def calorimeter(
    rng: np.random.Generator,
    conditions: Conditions,
    *,
    a: float = 0.2,
    b: float = 0.01,
    c: float = 0.0,
    fraction: float = 0.02,
) -> Array:
    """Draw sampling fractions of resolution a / sqrt(E) (+) b (+) c / E, E in GeV, (N,)."""
    energy = conditions.incident_energy.astype(np.float64) / GEV
    sigma = np.sqrt(a**2 / energy + b**2 + (c / energy) ** 2)
    return fraction * (1 + sigma * rng.normal(size=len(energy)))
