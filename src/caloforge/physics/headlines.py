"""The few numbers that a report and the command line open with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from caloforge.physics.comparison import Metrics

__all__ = ["Headline", "headlines", "with_error"]

TITLES = {
    "mean_ratio.sampling_fraction": "Sampling fraction: candidate / reference",
    "sampling_fraction.max_abs_ratio_error": "Sampling fraction: largest deviation in an energy bin",
    "mean_ratio.hits": "Hits: candidate / reference",
    "mean_ratio.width_across": "Width across: candidate / reference",
    "shape.": "Mean profile along {axis}: mean deviation per cell",
    "moments.mean_rel_error": "Moments 1 to 3: mean deviation",
    "separation.total_deposit": "Total deposit: separation power",
    "separation.sampling_fraction": "Sampling fraction: separation power",
    "separation.cell_energy": "Cell energies: separation power",
    "legacy_3dgan_metric": "Figure of the 3DGAN papers",
}


@dataclass(frozen=True)
class Headline:
    """A number with its error, its floor, and the value it would have if all were perfect."""

    name: str
    title: str
    value: float | None
    error: float | None
    floor: float | None
    perfect: float


def headlines(metrics: Metrics) -> Iterator[Headline]:
    """Pick the headlines from the metrics, in their order."""
    for key, title in TITLES.items():
        for name in metrics:
            if name.endswith(("_err", "_floor")) or not (
                name == key or (key.endswith(".") and name.startswith(key))
            ):
                continue
            yield Headline(
                name,
                title.format(axis=name.split(".")[1] if "." in name else ""),
                metrics[name],
                metrics.get(f"{name}_err"),
                metrics.get(f"{name}_floor"),
                1.0 if name.startswith("mean_ratio.") else 0.0,
            )


def with_error(value: float | None, error: float | None) -> str:
    """Write a value with its error to the error's second digit: ``0.9911 ± 0.0051``."""
    if value is None:
        return "undefined"
    if not error or error < 1e-9 * abs(value):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits <= 5:
        return f"{value:.{digits}f} ± {error:.{digits}f}"
    power = math.floor(math.log10(max(abs(value), error)))
    digits = max(0, 1 - math.floor(math.log10(error / 10**power)))
    return f"({value / 10**power:.{digits}f} ± {error / 10**power:.{digits}f})e{power}"
