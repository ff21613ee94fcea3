"""From a trained model to showers: in memory, or streamed to a file of any size."""

from __future__ import annotations

import math
import warnings
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caloforge.export.targets import export_model
from caloforge.files.packing import PackedShowers
from caloforge.files.rank_merge import RankMerge
from caloforge.files.shipped import pretrained_weights
from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import ShowerWriter, check_shower_path, open_writer
from caloforge.foundations.errors import CaloforgeWarning, UsageError
from caloforge.foundations.progress import Progress, Say, say_nothing, silent
from caloforge.foundations.randomness import DEFAULT_SEED, rows
from caloforge.foundations.ranks import ALONE, Ranks
from caloforge.foundations.units import DEGREE, GEV
from caloforge.generation.condition_source import ConditionSource, asked, uniform
from caloforge.generation.engines.engine import choose, make_forward
from caloforge.generation.threads import ThreadPool
from caloforge.models.base import Forward, ShowerModel
from caloforge.models.saved import ModelCard, load_model
from caloforge.models.shared.defaults import usual_torch
from caloforge.showers import (
    ELECTRON,
    MAX_INCIDENT_MEV,
    MIN_INCIDENT_MEV,
    Conditions,
    Domain,
    Showers,
    name_of,
)
from caloforge.showers.digitisation import Digitiser
from caloforge.showers.domain import Range

__all__ = [
    "Generator",
    "generate_file",
    "load",
]

BATCH = 128

EXTRAPOLATION = 0.05
"""A condition this far (relative) outside of the training showers is still taken for inside."""


@dataclass(frozen=True)
class Generator:
    """A model that is ready to make showers, its card, and what computes its images: torch or another engine.

    ``folder`` is where it was loaded from.
    """

    model: ShowerModel
    card: ModelCard
    engine: str = "torch"
    forward: Forward | None = None
    folder: Path | None = None

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.card.grid.shape))
        known = f"{_span(self.card.energy_MeV, 1.0)} MeV, theta {_span(self.card.theta_rad, 1.0)} rad"
        return (
            f"<Generator: {self.card.name} for {self.card.grid.name}, {shape} cells; trained at {known}>"
        )

    def sample(
        self, conditions: Conditions, seed: int, first: int, *, beyond: bool
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Make showers ``first``, ``first + 1``, ...; raise UsageError where the model, far from its training, cannot.

        ``beyond`` tells whether any of the showers asked for is beyond the training.
        """
        deposits = self.model.sample(conditions, seed, first, self.forward)
        if not beyond or np.isfinite(deposits.max()):
            return deposits
        domain = Domain.of(conditions)
        if check_conditions(self, domain):
            told, known = (
                f"{_span(some.energy_MeV, GEV)} GeV and {_span(some.theta_rad, DEGREE)} degrees"
                for some in (domain, self.card.domain)
            )
            raise UsageError(
                f"model {self.card.name}: no finite showers at {told}, too far from the training at {known}"
            )
        return deposits

    def complete(self, conditions: Conditions, seed: int, first: int) -> Conditions:
        """Draw the impact points of showers ``first``, ``first + 1``, ... where they are not told, as in the training.

        An impact point that does not change the model's showers is forgotten; the particle is the model's own where
        it is not told.
        """
        impact_N2, span = conditions.impact_xy, self.card.impact_mm
        if "impact_xy" not in self.model.follows:
            impact_N2 = None
        elif impact_N2 is None and span is not None:
            u_N2 = rows(uniform, 2, first, len(conditions), seed, "impact points")
            low_2, high_2 = np.array(span).T
            impact_N2 = (low_2 + (high_2 - low_2) * u_N2).astype(np.float32)
        pdg_N, known = conditions.pdg_id, self.card.pdg_ids
        if pdg_N is None:
            own = ELECTRON if ELECTRON in known else known[0]
            pdg_N = np.full(len(conditions), own, np.int32)
        return replace(conditions, incident_phi=conditions.phi, impact_xy=impact_N2, pdg_id=pdg_N)

    @usual_torch()
    def generate(
        self,
        energy: object,
        theta: object = None,
        *,
        phi: object = None,
        impact: object = None,
        pdg_id: object = None,
        seed: int = DEFAULT_SEED,
        batch: int = BATCH,
        pool: ThreadPool | None = None,
    ) -> Showers:
        """Make one shower for each incident energy (MeV); ``theta`` and ``phi`` in rad, by default pi/2.

        ``impact`` (N, 2) or (2,) is in mm, by default drawn as in the training; ``pdg_id`` by default the model's particle.

        The same seed gives the same showers, whatever the batch size (up to the rounding of
        floating point sums) and the ``pool`` of threads, by default one. Warns (:class:`CaloforgeWarning`) of conditions
        outside of the training's, and raises UsageError for those that the model cannot take.
        """
        conditions = Conditions.of(energy, theta, phi, impact, pdg_id)
        if len(conditions) == 0:
            raise UsageError("energy: expected at least one value")
        told = check_conditions(self, asked(conditions))
        if told is not None:
            warnings.warn(told, CaloforgeWarning, stacklevel=3)  # the caller, outside of the decorator
        conditions = self.complete(conditions, seed, 0)

        def make(first: int) -> np.ndarray[Any, np.dtype[np.float32]]:
            piece = conditions[first : first + batch]
            return self.sample(piece, seed, first, beyond=told is not None)

        firsts = range(0, len(conditions), batch)
        pieces = list((pool or ThreadPool(1)).map(make, firsts))
        return Showers(
            deposits=pieces[0] if len(pieces) == 1 else np.concatenate(pieces),
            **vars(conditions),
            grid=self.card.grid,
            provenance=_provenance(self, seed),
        )

    def export(self, target: str, path: str | Path) -> dict[str, Any]:
        """Write the model for other programs: ``target`` is "native", "onnx", "par04" or "ddml".

        Returns and raises as :func:`caloforge.export.targets.export_model` does.
        """
        return export_model(self.model, self.card, target, Path(path))


@usual_torch()
def load(name_or_run: str | Path) -> Generator:
    """Load a pretrained model by name, or the model of a run folder.

    Raises UsageError where there is none, CaloforgeError where it is damaged.
    """
    shipped = pretrained_weights()
    path = shipped.get(str(name_or_run), Path(name_or_run))
    if not path.exists():
        known = f"one of {', '.join(shipped)} or " if shipped else ""
        raise UsageError(f"model {str(name_or_run)!r}: expected {known}a run folder")
    return Generator(*load_model(path), folder=path)


def with_engine(
    generator: Generator, name: str, batch: int = BATCH, pool: ThreadPool | None = None
) -> tuple[Generator, dict[str, float]]:
    """Return a generator that computes with another engine, and what ``auto`` measured (ms a shower of each).

    ``auto`` takes the fastest of those that are installed. The first use of an engine with a model takes
    seconds; see :mod:`caloforge.generation.engines.engine` for what is remembered.
    """
    pool, times = pool or ThreadPool(1), dict[str, float]()
    if name == "auto":
        share, known = np.linspace(0, 1, batch), generator.card.domain
        ranges = (known.energy_MeV, known.theta_rad, known.phi_rad)
        conditions = Conditions.of(*(low + share * (high - low) for low, high in ranges))
        name, times = choose(generator.model, conditions, pool.count, pool.threads)
    forward = make_forward(name, generator.model, batch, pool.count, pool.threads)
    return replace(generator, engine=name, forward=forward), times


def check_conditions(generator: Generator, domain: Domain) -> str | None:
    """Compare conditions with what the model was trained on.

    Returns a warning where a model must extrapolate. Raises UsageError for energies and angles that no shower has, and
    for other angles, azimuths or particles than those of a model that does not follow them.
    """
    card, follows = generator.card, generator.model.follows
    known = card.domain
    if not MIN_INCIDENT_MEV <= domain.energy_MeV[0] <= domain.energy_MeV[1] <= MAX_INCIDENT_MEV:
        limits = _span((MIN_INCIDENT_MEV, MAX_INCIDENT_MEV), GEV)
        raise UsageError(f"energy: expected {limits} GeV, got {_span(domain.energy_MeV, GEV)}")
    if not 0 < domain.theta_rad[0] <= domain.theta_rad[1] < math.pi:
        told = _span(domain.theta_rad, DEGREE)
        raise UsageError(f"theta: expected angles between 0 and 180 degrees, got {told}")
    strange = [name_of(pdg) for pdg in domain.pdg_ids if pdg not in known.pdg_ids]
    if strange:
        names = ", ".join(map(name_of, known.pdg_ids))
        raise UsageError(f"particle: model {card.name} was trained on {names}, got {strange[0]}")
    warnings = []
    for name, outside in (
        ("theta", _beyond(domain.theta_rad, known.theta_rad)),
        ("phi", domain.tilted and _beyond(_turned(domain.phi_rad, known.phi_rad), known.phi_rad)),
    ):
        told, trained = (_span(getattr(some, f"{name}_rad"), DEGREE) for some in (domain, known))
        if outside and f"incident_{name}" not in follows:
            raise UsageError(
                f"{name}: model {card.name} was trained at {trained} degrees and does not follow {name}, "
                f"got {told} degrees"
            )
        if outside:
            warnings.append(f"{name} of {told} degrees, trained on {trained}")
    for axis, found, span in zip("xy", domain.impact_mm or (), known.impact_mm or (), strict=False):
        room = EXTRAPOLATION * (span[1] - span[0])
        if "impact_xy" in follows and not span[0] - room <= found[0] <= found[1] <= span[1] + room:
            warnings.append(
                f"impact points at {axis} of {_span(found, 1)} mm, trained on {_span(span, 1)}"
            )
    (low, high), (known_low, known_high) = domain.energy_MeV, known.energy_MeV
    if low < known_low * (1 - EXTRAPOLATION) or high > known_high * (1 + EXTRAPOLATION):
        told, trained = (_span(some.energy_MeV, GEV) for some in (domain, known))
        warnings.append(f"energies of {told} GeV, trained on {trained}")
    return f"extrapolation: {'; '.join(warnings)}" if warnings else None


def _beyond(found: Range, known: Range) -> bool:
    """Tell whether angles lie outside of others by more than a degree."""
    return found[0] < known[0] - DEGREE or found[1] > known[1] + DEGREE


def _turned(phi_rad: Range, known_rad: Range) -> Range:
    """Turn azimuths by whole turns to where others are; a full turn holds all."""
    if known_rad[1] - known_rad[0] > 2 * math.pi - 10 * DEGREE:
        return known_rad
    turns = math.ceil((known_rad[0] - DEGREE - phi_rad[0]) / (2 * math.pi)) * 2 * math.pi
    return phi_rad[0] + turns, phi_rad[1] + turns


@usual_torch()
def generate_file(
    generator: Generator,
    source: ConditionSource,
    out: Path,
    *,
    seed: int,
    batch: int = BATCH,
    digitise: bool = False,
    pool: ThreadPool | None = None,
    ranks: Ranks = ALONE,
    progress: Progress = silent,
    say: Say = say_nothing,
) -> None:
    """Stream showers to a file in bounded memory; the file appears when it is complete.

    Each rank makes a run of whole batches, and the threads of its ``pool`` (one by default) take turns with
    them, so that the file is the one of a single process, bit for bit where each computes with as many
    threads. The first rank joins what the others made; they return before. With ``digitise`` the file holds what
    the detector's electronics read out. Of an overlay a batch counts the particles.
    """
    beyond = check_conditions(generator, source.domain) is not None
    grid, k = generator.card.grid, source.overlay
    batch = max(1, batch // k)
    digitiser = Digitiser.of(grid, seed) if digitise else None
    provenance = {**_provenance(generator, seed), **source.provenance}
    if digitiser:
        grid, provenance = digitiser.grid(grid), {**provenance, **digitiser.provenance()}
    check_shower_path(out, *source.inputs)
    firsts = range(0, source.count, batch)
    share = firsts[
        len(firsts) * ranks.rank // ranks.world : len(firsts) * (ranks.rank + 1) // ranks.world
    ]
    total = sum(min(batch, source.count - first) for first in share)
    # The day may change between two ranks.
    work = {**provenance, "date": None, "batch": batch}
    with RankMerge(out, ranks, work, source.count, progress, say) as merge:
        with (
            open_writer(out, grid, provenance)
            if ranks.leads
            else ShowerWriter(merge.part(ranks.rank), grid, provenance)
        ) as writer:

            def make(first: int) -> PackedShowers:
                conditions = source.piece(first * k, min(batch, source.count - first) * k)
                conditions = generator.complete(conditions, seed, first * k)
                deposits = generator.sample(conditions, seed, first * k, beyond=beyond)
                showers = Showers(deposits, **vars(conditions), grid=generator.card.grid)
                showers = showers.overlaid(k) if k > 1 else showers
                showers = digitiser(showers, first) if digitiser else showers
                return writer.pack(showers, first - share.start)

            done = 0
            merge.report(done, total)
            with closing((pool or ThreadPool(1)).map(make, share)) as batches:
                for packed in batches:
                    writer.append(packed)
                    done += len(packed.showers)
                    merge.report(done, total)
            if ranks.leads:
                merge.finish()
                for rank in range(1, ranks.world):
                    with ShowerFile(merge.part(rank)) as part:
                        writer.join(part)
        if not ranks.leads:
            merge.finish()


def _provenance(generator: Generator, seed: int) -> dict[str, Any]:
    card = generator.card
    return {
        "program": f"caloforge {version('caloforge')}",
        "torch": torch.__version__,
        "engine": generator.engine,
        "model": card.name,
        "model_provenance": dict(card.provenance),
        "training_data": dict(card.training_data),
        "seed": seed,
        "date": date.today().isoformat(),
    }


def _span(limits: tuple[float, float], unit: float) -> str:
    """Write a range in a unit, or the one value that it is."""
    return " to ".join(dict.fromkeys(f"{value / unit:.4g}" for value in limits))
