"""The few numbers that a report shows below the verdict, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caloforge.comparison.differences import Metrics
from caloforge.observables.definitions import OBSERVABLES

__all__ = ["PROTOCOL", "TITLES", "KeyMetric", "key_metrics", "perfect", "title_of", "with_error"]

TITLES = {
    "auc.low": "Classifier on cells: AUC",
    "auc.high": "Classifier on observables: AUC",
    "fpd": "Fréchet physics distance",
    "kpd": "Kernel physics distance",
    "adjusted_ratio.sampling_fraction": "Sampling fraction: candidate / reference",
    "spread_ratio.sampling_fraction": "Spread of the sampling fraction: candidate / reference",
    "sampling_fraction.max_abs_ratio_error": "Sampling fraction: largest deviation in an energy bin",
    "adjusted_ratio.hits": "Hits: candidate / reference",
    "adjusted_ratio.width_across": "Width across: candidate / reference",
    "shape.x.mean_rel_error": "Mean profile along x: mean deviation per cell",
    "shape.y.mean_rel_error": "Mean profile along y: mean deviation per cell",
    "shape.z.mean_rel_error": "Mean profile along z: mean deviation per cell",
    "shape.r.mean_rel_error": "Mean profile along r: mean deviation per cell",
    "shape.phi.mean_rel_error": "Mean profile along phi: mean deviation per cell",
    "shape.layer.mean_rel_error": "Mean profile along the layers: mean deviation per cell",
    "moments.mean_rel_error": "Moments 1 to 3: mean deviation",
    "layer_correlation.mean_abs_error": "Correlations of layers: mean deviation",
    "separation.cell_energy": "Cell energies: separation power",
    "nearest_neighbour.p_value": "Copied or repeated showers: p-value, small if there are any",
    "legacy_3dgan_metric": "Figure of the 3DGAN papers",
}
"""Key metrics in their order; a number that was not measured is left out."""

PROTOCOL = {
    "calochallenge.auc.low": "Classifier on voxels: AUC",
    "calochallenge.auc.high": "Classifier on observables: AUC",
    "calochallenge.fpd": "Fréchet physics distance",
    "calochallenge.kpd": "Kernel physics distance",
}
"""The same of a published protocol."""

KINDS = {
    "adjusted_ratio.": "",
    "spread_ratio.": "spread",
    "mean_ratio.": "ratio of plain means",
    "separation.": "separation power",
    "ks.": "Kolmogorov-Smirnov",
}


@dataclass(frozen=True)
class KeyMetric:
    """A number and its floor, with their errors, and the value that a perfect candidate has on average."""

    name: str
    title: str
    value: float | None
    error: float | None
    floor: float | None
    floor_error: float | None
    perfect: float


def key_metrics(metrics: Metrics, titles: Mapping[str, str] = TITLES) -> Iterator[KeyMetric]:
    """Pick the key metrics, in their order; a protocol has ``titles`` of its own."""
    for name, title in titles.items():
        if name in metrics:
            error, floor, floor_error = (
                metrics.get(name + end) for end in ("_err", "_floor", "_floor_err")
            )
            yield KeyMetric(name, title, metrics[name], error, floor, floor_error, perfect(name))


def perfect(name: str) -> float:
    """Return a number's average for a candidate from the reference's own source, of many showers each."""
    if ".auc." in f".{name}" or name.endswith("p_value"):
        return 0.5
    return 1.0 if name.partition(".")[0].endswith(("_ratio", "_scale", "_gain")) else 0.0


def title_of(name: str) -> str:
    """Name a number in words: a key metric's title, or that of the observable it is about."""
    kind, _, observable = name.partition(".")
    if name in TITLES or observable not in OBSERVABLES or f"{kind}." not in KINDS:
        return TITLES.get(name, name)
    what = KINDS[f"{kind}."]
    return f"{OBSERVABLES[observable].title}{what and ': '}{what}"


def with_error(value: float | None, error: float | None) -> str:
    """Write a value with its error to the error's second digit: ``0.9911 ± 0.0051``."""
    if value is None:
        return "undefined"
    if isinstance(value, int):
        return str(value)
    if not error or error < 1e-9 * abs(value):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits <= 6:
        return f"{value:.{digits}f} ± {error:.{digits}f}"
    power = math.floor(math.log10(max(abs(value), error)))
    digits = max(0, 1 - math.floor(math.log10(error / 10**power)))
    return f"({value / 10**power:.{digits}f} ± {error / 10**power:.{digits}f})e{power}"
