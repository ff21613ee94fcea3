"""Plots with two axes or more: angles and places against what they should be, correlations, displays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.correlations import correlate, layer_shares
from caloforge.comparison.samples import Sample
from caloforge.comparison.selections import INCLUSIVE, MIN_SHOWERS
from caloforge.foundations.units import DEGREE, GEV
from caloforge.observables.definitions import OBSERVABLES
from caloforge.report.plots.curves import shown
from caloforge.report.plots.histograms import Plot, image, map_of, matrix
from caloforge.showers import Showers

__all__ = [
    "angle_against_incident",
    "angle_against_reference",
    "correlations",
    "display",
    "impact",
    "layer_correlations",
]

Array = NDArray[Any]


def angle_against_incident(samples: Sequence[Sample], name: str) -> Plot | None:
    """Histogram a measured angle against the incident one; None where it is undefined."""
    return _map(
        f"{name}_against_incident",
        f"{OBSERVABLES[name].title} against the incident angle",
        name,
        "Incident angle [degree]",
        [(s.conditions.incident_theta / DEGREE, _degrees(s, name)) for s in samples],
        diagonal=name == "axis_angle",
    )


def angle_against_reference(samples: Sequence[Sample], name: str, index: int = 0) -> Plot | None:
    """Histogram a measured angle against that of a reference shower of (nearly) the same incident angle.

    Where the files hold the same conditions each shower meets its partner. The reference's own showers
    meet their neighbour in incident angle: so would two Geant4 showers of equal conditions.
    """
    selection = samples[0].selections[index]
    inside = [selection.mask(sample.conditions) for sample in samples]
    thetas = [s.conditions.incident_theta[mask] for s, mask in zip(samples, inside, strict=True)]
    angles = [_degrees(s, name)[mask] for s, mask in zip(samples, inside, strict=True)]
    order = np.argsort(thetas[0], kind="stable")
    theta, angle = thetas[0][order], angles[0][order]
    pairs = [(angle[:-1], angle[1:])]
    for wanted, measured in zip(thetas[1:], angles[1:], strict=True):
        right = np.clip(np.searchsorted(theta, wanted), 1, len(theta) - 1)
        nearest = right - (wanted - theta[right - 1] < theta[right] - wanted)
        pairs.append((angle[nearest], measured))
    title = OBSERVABLES[name].title
    return _map(
        f"{name}_against_reference_{selection.name}",
        f"{title} of showers of equal incident angle, {selection.title}",
        name,
        "The same of another reference shower [degree]",
        pairs,
        diagonal=True,
        where=selection.title,
    )


def impact(samples: Sequence[Sample], axis: str) -> Plot | None:
    """Histogram the barycentre against where the incident particle passes; None where unknown."""
    name, offset = f"barycentre_{axis}", f"offset_{axis}"
    if not all(offset in sample.values for sample in samples):
        return None
    return _map(
        f"{name}_against_impact",
        f"{OBSERVABLES[name].title} against the particle's",
        name,
        f"Particle's {axis} at the barycentre's depth [mm]",
        [(s.values[name] - s.values[offset], s.values[name]) for s in samples],
        diagonal=True,
    )


def _degrees(sample: Sample, name: str) -> Array:
    undefined = np.full(len(sample), np.nan)
    return np.asarray(sample.values.get(name, undefined) / DEGREE)


def _map(
    name: str,
    title: str,
    observable: str,
    x_label: str,
    pairs: Sequence[tuple[Array, Array]],
    *,
    diagonal: bool,
    where: str = INCLUSIVE.title,
) -> Plot | None:
    """Histogram y against x of each sample; the outer 0.2 % on either side of y are left out."""
    good = [np.isfinite(x) & np.isfinite(y) for x, y in pairs]
    if not all(g.any() for g in good):
        return None
    pairs = [(x[g], y[g]) for (x, y), g in zip(pairs, good, strict=True)]
    n_bins = int(np.clip(np.sqrt(min(len(x) for x, _ in pairs)), 10, 40))
    edges = []
    for values in zip(*pairs, strict=True):
        low, high = np.quantile(np.concatenate(values), (0.002, 0.998))
        margin = 0.02 * (high - low) + 1e-3
        edges.append(np.linspace(low - margin, high + margin, n_bins + 1))
    return Plot(
        name,
        title,
        "maps",
        tuple(
            map_of(edges, (x_label, shown(observable)[0]), np.histogram2d(x, y, edges)[0])
            for x, y in pairs
        ),
        scale=tuple(1 / len(x) for x, _ in pairs),
        showers=tuple(len(x) for x, _ in pairs),
        observable=observable,
        where=where,
        y_label="Fraction of showers",
        diagonal=diagonal,
    )


def correlations(samples: Sequence[Sample], index: int = 0) -> Plot | None:
    """Correlate moments, deposit, incident energy, hits and fractions in thirds, as 3DGAN does."""
    names = {f"moment{n}_{axis}": f"{axis} {n}" for axis in samples[0].grid.axes for n in (1, 2, 3)}
    names |= {"total_deposit": "deposit", "": "energy", "hits": "hits"}
    names |= {f"fraction_{third}": third for third in ("front", "middle", "back")}
    tables = []
    for sample in samples:
        inside = sample.selections[index].mask(sample.conditions)
        columns = [sample.values.get(name, sample.conditions.incident_energy)[inside] for name in names]
        tables.append(np.array(columns, np.float64).T)
    title = "Correlations of moments, deposit, hits and thirds of the depth"
    return _matrices(samples, index, tables, list(names.values()), "correlations", title)


def layer_correlations(samples: Sequence[Sample], index: int = 0) -> Plot | None:
    """Correlate the layers' fractions of the deposit, over the showers that are kept whole."""
    tables = [
        layer_shares(sample)[sample.selections[index].mask(sample.conditions[sample.kept])]
        for sample in samples
    ]
    title = "Correlations of the layers' fractions of the deposit"
    return _matrices(samples, index, tables, "layer", "layer_correlations", title)


def _matrices(
    samples: Sequence[Sample],
    index: int,
    tables_NM: Sequence[Array],
    names: list[str] | str,
    name: str,
    title: str,
) -> Plot | None:
    """Correlate the columns of each sample's table, over its rows without undefined values."""
    tables_NM = [table[np.isfinite(table).all(axis=1)] for table in tables_NM]
    if min(map(len, tables_NM)) < MIN_SHOWERS:
        return None
    selection = samples[0].selections[index]
    found = [correlate(table) for table in tables_NM]
    return Plot(
        f"{name}_{selection.name}",
        f"{title}, {selection.title}",
        "matrix",
        tuple(matrix(names, r, len(table)) for r, table in zip(found, tables_NM, strict=True)),
        scale=(1.0,) * len(found),
        showers=tuple(map(len, tables_NM)),
        where=selection.title,
        y_label="Correlation",
    )


def display(name: str, showers: Sequence[Showers]) -> Plot:
    """Show one shower of each sample, cell by cell."""
    energies = [s.incident_energy[0] / GEV for s in showers]
    angles = [s.incident_theta[0] / DEGREE for s in showers]
    return Plot(
        name,
        f"One shower of each, {_one_or_all(energies, '.4g', ' GeV')}, {_one_or_all(angles, '.3g', '°')}",
        "display",
        tuple(image(s.grid, s.deposits[0]) for s in showers),
        scale=(1.0,) * len(showers),
        showers=(1,) * len(showers),
        where=f"{energies[0]:.4g} GeV",
        y_label="Deposit [MeV]",
    )


def _one_or_all(numbers: Sequence[float], form: str, unit: str) -> str:
    """Write a number once if all are written the same."""
    texts = list(dict.fromkeys(f"{number:{form}}" for number in numbers))
    *most, last = texts
    return (f"{', '.join(most)} and {last}" if most else last) + unit
