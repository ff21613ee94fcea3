"""Numbers that say how far a candidate's showers are from a reference's.

Names, as in ``metrics.json``. A number ``name`` comes with ``name_err``, its statistical error, and
where perfection is zero also with ``name_floor``, what it would be on average if both files were
drawn from the same source. Undefined numbers are null.

``n_reference``, ``n_candidate``
    Showers; ``n_empty_reference``, ``n_empty_candidate`` of them have no deposit above the read-out
    threshold ``threshold_MeV`` that both files are read with; ``n_plots`` are in the report.
``mean_ratio.<observable>``
    Mean over candidate showers / mean over reference showers. Null where the reference's mean is
    within five of its errors of zero, since a ratio would mean nothing.
``separation.<observable>``
    Triangular discrimination of two histograms normalised to one, 1/2 sum (p-q)^2 / (p+q): 0 for
    equal ones, 1 for disjoint ones (CaloChallenge's separation power). Bins of equal width span the
    0.1 % to 99.9 % quantiles of both files together, 10 to 50 of them (one for each 20 showers of the
    smaller file; whole numbers get one each, up to 60); the outer ones hold what lies beyond. For
    ``cell_energy`` the mean spectrum counts.
``sampling_fraction.max_abs_ratio_error``
    Largest |candidate / reference - 1| of the mean sampling fraction over the energy bins;
    ``sampling_fraction.n_bins`` of them hold enough showers.
``resolution.mean_abs_ratio_error``
    Mean over the energy bins of |candidate / reference - 1| of the relative spread (standard
    deviation / mean) of the sampling fraction.
``shape.<axis>.mean_rel_error``
    Mean of |candidate / reference - 1| over the cells along an axis that hold the central 95 % of the
    reference's energy; profiles are averaged over all showers and normalised to one. It and
    ``separation.cell_energy`` come with ``_by_energy`` and ``_by_energy_err``, lists over the
    ``energy_bins``.
``moments.mean_rel_error``
    Mean of |candidate / reference - 1| of the average moments 1 to 3, over axes and energy bins,
    without moments whose reference average is within five of its errors of zero.
``legacy_3dgan_metric``
    The 3DGAN papers' single figure: ``moments.mean_rel_error``, plus the mean of |candidate /
    reference - 1| over every cell along every axis of the mean profiles in MeV and over energy bins,
    plus the mean over energy bins of the same for the average measured angle.

Energy bins are those of :func:`caloforge.comparison.selections.choose_selections`. Errors come from a
delete-one-group jackknife over the groups of :mod:`caloforge.comparison.samples`, and floors from
comparing ten random halves of the reference with the other halves, scaled to the sizes of the files.
Errors of deviations and separations are conservative (too large, by a factor of up to 2) where these are near their floor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.comparison.energy_points import Places, choose_places
from caloforge.comparison.samples import Sample, Summary
from caloforge.foundations.randomness import stream
from caloforge.observables.definitions import OBSERVABLES
from caloforge.observables.image import divide

__all__ = ["Comparison", "Metrics", "bin_edges", "central", "finite", "paired", "separation"]

Array = NDArray[np.float64]

Metrics = dict[str, Any]
"""Numbers by name, as in metrics.json: a number, null, or a list with one entry for each bin of energy."""

SIGNIFICANCE = 5.0
CORE_FRACTION = 0.95
MAX_WHOLE = 60
"""Up to so many different whole numbers get a bin each."""
N_SPLITS = 10
IN_A_BIN = " in energy bin "
"""Between a number's name and that of a bin, until the bins' numbers are gathered in a list."""


def separation(p_B: Array, q_B: Array) -> float:
    """Return the triangular discrimination of two histograms, 0 (equal) to 1 (disjoint); NaN if one is empty."""
    if not (p_B.sum() > 0 and q_B.sum() > 0):
        return math.nan
    p_B, q_B = p_B / p_B.sum(), q_B / q_B.sum()
    both_B = p_B + q_B
    filled = both_B > 0
    return float(0.5 * ((p_B - q_B)[filled] ** 2 / both_B[filled]).sum())


def bin_edges(*samples_N: NDArray[np.floating], discrete: bool) -> Array:
    """Choose bins of equal width for some sets of values, as ``separation`` has them.

    Whole numbers get bins around whole numbers.
    """
    finite = [values[np.isfinite(values)].astype(np.float64) for values in samples_N]
    both = np.concatenate(finite)
    if len(both) == 0:
        return np.array([0.0, 1.0])
    n_bins = int(np.clip(min(map(len, finite)) // 20, 10, 50))
    low, high = (float(q) for q in np.quantile(both, (0.001, 0.999)))
    if discrete:
        low, high = math.floor(low) - 1, math.ceil(high) + 1
        step = 1 if high - low < MAX_WHOLE else math.ceil((high - low + 1) / n_bins)
        return np.arange(low, high + step + 0.5, step) - 0.5
    # A constant gets bins around it, wide enough to be told apart in floating point.
    margin = max(0.02 * (high - low), 1e-6 * abs(high), 1e-12)
    return np.linspace(low - margin, high + margin, n_bins + 1)


def paired(reference: Sample, candidate: Sample) -> bool:
    """Tell whether two samples hold the same conditions in the same order."""
    ours, theirs = reference.conditions, candidate.conditions
    return np.array_equal(ours.incident_energy, theirs.incident_energy) and np.array_equal(
        ours.incident_theta, theirs.incident_theta
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """A reference and a candidate, read with the same selections and groups."""

    reference: Sample
    candidate: Sample

    @cached_property
    def scalars(self) -> tuple[str, ...]:
        """Names of the observables with one value a shower."""
        return tuple(name for name in self.reference.values if name in self.candidate.values)

    @cached_property
    def edges(self) -> dict[str, Array]:
        """Bins for each scalar observable that both files have."""
        pair = self.reference.values, self.candidate.values
        return {
            name: bin_edges(*(values[name] for values in pair), discrete=OBSERVABLES[name].discrete)
            for name in self.scalars
        }

    @cached_property
    def histograms(self) -> dict[str, tuple[Array, Array]]:
        """Counts of reference and candidate in those bins, each (G, B)."""
        return {
            name: (self.reference.histogram(name, edges), self.candidate.histogram(name, edges))
            for name, edges in self.edges.items()
        }

    @cached_property
    def energy_bins(self) -> NDArray[np.intp]:
        """Indices of the selections that tile the energies."""
        return np.flatnonzero([s.kind == "energy" for s in self.reference.selections])

    @cached_property
    def places(self) -> Places:
        """Points and ranges of energy that both fill."""
        return choose_places(self.reference.conditions, self.candidate.conditions)

    @cached_property
    def summaries(self) -> tuple[Summary, Summary]:
        """Means over all of the reference and all of the candidate."""
        return self.reference.summary(), self.candidate.summary()

    def _significant(self, name: str) -> NDArray[np.bool_]:
        """Tell in which selections the reference's mean is surely not zero, (S,)."""
        mean_S, error_S = self.summaries[0].mean(name)[:, 0], self.summaries[0].error(name)[:, 0]
        return np.abs(mean_S) > SIGNIFICANCE * error_S

    @cached_property
    def _moments(self) -> dict[str, NDArray[np.intp]]:
        """Find the energy bins in which each moment along each axis counts."""
        names = [f"moment{order}_{axis}" for axis in self.reference.grid.axes for order in (1, 2, 3)]
        return {name: self.energy_bins[self._significant(name)[self.energy_bins]] for name in names}

    @cached_property
    def _core(self) -> dict[str, list[NDArray[np.intp]]]:
        """Find the cells along each axis, by selection, with the central 95 % of the reference's energy."""
        return {
            axis: [central(profile_I) for profile_I in self.summaries[0].mean(f"profile_{axis}")]
            for axis in self.reference.grid.axes
        }

    def metrics(self) -> Metrics:
        """Compute all numbers but ``n_plots``, errors and floors among them."""
        metrics: Metrics = {
            "n_reference": len(self.reference),
            "n_candidate": len(self.candidate),
            "n_empty_reference": self.reference.n_empty,
            "n_empty_candidate": self.candidate.n_empty,
            "threshold_MeV": self.reference.grid.threshold_MeV,
            "sampling_fraction.n_bins": len(self.energy_bins),
            "energy_bins": [self.reference.selections[i].title for i in self.energy_bins],
        }
        every = np.ones(self.reference.n_groups, dtype=bool)
        errors, floors = self._errors(), self._floors()
        for name, value in self._compare(self.candidate, every, every):
            whole, in_a_bin, _ = name.partition(IN_A_BIN)
            if in_a_bin:
                metrics.setdefault(f"{whole}_by_energy", []).append(finite(value))
                metrics.setdefault(f"{whole}_by_energy_err", []).append(finite(errors[name]))
                metrics.setdefault(f"{whole}_by_energy_floor", []).append(finite(floors[name]))
                continue
            metrics[name] = finite(value)
            metrics[f"{name}_err"] = finite(errors[name])
            if name in floors:
                metrics[f"{name}_floor"] = finite(floors[name])
        return metrics

    def _errors(self) -> dict[str, float]:
        n = self.reference.n_groups
        parts = [dict(self._compare(self.candidate, kept, kept)) for kept in ~np.eye(n, dtype=bool)]
        replicas = {name: np.array([part[name] for part in parts]) for name in parts[0]}
        return {name: math.sqrt((n - 1) * np.var(values)) for name, values in replicas.items()}

    def _floors(self) -> dict[str, float]:
        n = self.reference.n_groups
        random = stream(0, "validate", "floors")
        halves = [random.permutation(n) < n // 2 for _ in range(N_SPLITS)]
        parts = [dict(self._compare(self.reference, half, ~half)) for half in halves]
        # Noise in a difference goes with sqrt(1/n + 1/m), its square with 1/n + 1/m.
        size = len(self.reference)
        n_half = size * (n // 2) / n
        scale = (1 / size + 1 / len(self.candidate)) / (1 / n_half + 1 / (size - n_half))
        return {
            name: float(np.mean([part[name] for part in parts]))
            * (scale if name.startswith("separation.") else math.sqrt(scale))
            for name in parts[0]
            if not name.startswith("mean_ratio.")
        }

    def _compare(
        self, other: Sample, groups: NDArray[np.bool_], other_groups: NDArray[np.bool_]
    ) -> Iterator[tuple[str, float]]:
        """Compare some groups of the reference with some groups of another sample."""
        ours, theirs = self.reference.summary(groups), other.summary(other_groups)

        def deviation(name: str, selections: NDArray[np.intp] | int) -> Array:
            return divide(theirs.mean(name)[selections], ours.mean(name)[selections]) - 1

        for name in self.scalars:
            ratio = float(deviation(name, 0)[0]) + 1 if self._significant(name)[0] else math.nan
            yield f"mean_ratio.{name}", ratio
        for name, (reference_GB, candidate_GB) in self.histograms.items():
            other_GB = reference_GB if other is self.reference else candidate_GB
            counts = reference_GB[groups].sum(axis=0), other_GB[other_groups].sum(axis=0)
            yield f"separation.{name}", separation(*counts)

        bins = self.energy_bins
        places = [(0, ""), *((int(s), f"{IN_A_BIN}{k}") for k, s in enumerate(bins))]
        for s, place in places:
            spectra = (summary.mean("cell_energy")[s] for summary in (ours, theirs))
            yield f"separation.cell_energy{place}", separation(*spectra)
        fraction = deviation("sampling_fraction", bins)
        yield "sampling_fraction.max_abs_ratio_error", _max_abs(fraction)
        resolution = (
            divide(s.spread("sampling_fraction")[bins], s.mean("sampling_fraction")[bins])
            for s in (theirs, ours)
        )
        yield "resolution.mean_abs_ratio_error", _mean_abs(divide(*resolution) - 1)

        for axis, core in self._core.items():
            for s, place in places:
                ours_I, theirs_I = (summary.mean(f"profile_{axis}")[s] for summary in (ours, theirs))
                ratio_I = divide(theirs_I * ours_I.sum(), ours_I * theirs_I.sum())
                yield f"shape.{axis}.mean_rel_error{place}", _mean_abs(ratio_I[core[s]] - 1)
        moments = _mean_abs(*(deviation(name, where) for name, where in self._moments.items()))
        yield "moments.mean_rel_error", moments

        axes = self.reference.grid.axes
        shapes = _mean_abs(*(deviation(f"profile_{axis}", bins) for axis in axes))
        angle = _mean_abs(deviation("measured_angle", bins)) if "measured_angle" in self.scalars else 0.0
        yield "legacy_3dgan_metric", moments + shapes + angle


def central(profile_I: Array) -> NDArray[np.intp]:
    """Find the cells between the quantiles of a profile that enclose the core of its energy."""
    tail = (1 - CORE_FRACTION) / 2 * profile_I.sum()
    before_I = np.cumsum(profile_I) - profile_I
    return np.flatnonzero((before_I + profile_I > tail) & (before_I < profile_I.sum() - tail))


def _mean_abs(*errors: Array) -> float:
    """Return the mean of absolute values, undefined ones left out; NaN of none."""
    values = np.concatenate([np.zeros(0), *(error.ravel() for error in errors)])
    values = values[np.isfinite(values)]
    return float(np.abs(values).mean()) if len(values) else math.nan


def _max_abs(errors: Array) -> float:
    """Return the largest absolute value; NaN of none."""
    values = errors[np.isfinite(errors)]
    return float(np.abs(values).max()) if len(values) else math.nan


def finite(value: float) -> float | None:
    """Return a number as JSON can hold it: null where it is undefined."""
    return value if math.isfinite(value) else None
