"""Geant4 showers for Python: units are MeV, mm and rad, and the showers come back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from caloforge.detector import Detector, load_detector
from caloforge.files.hit_files import HIT_FILES
from caloforge.files.shower_file import read
from caloforge.foundations.errors import UsageError
from caloforge.foundations.progress import Progress, Say, say_nothing, silent
from caloforge.foundations.randomness import DEFAULT_SEED
from caloforge.foundations.units import Area, Spectrum
from caloforge.geant4.physics_data import find_physics_data
from caloforge.geant4.request import SimulationRequest
from caloforge.geant4.simulate import simulate as simulate_file
from caloforge.showers import Showers, parse_particles

__all__ = ["Values", "simulate"]

Values = float | Sequence[float] | Spectrum
"""One value, several of which each shower has one, or a distribution."""


def simulate(
    detector: str | Path | Detector,
    events: int | None = None,
    energy: Values | None = None,
    *,
    theta: Values | None = None,
    phi: Values | None = None,
    impact: tuple[float, float] | Area | None = None,
    particle: str | None = None,
    like: str | Path | Showers | None = None,
    overlay: int = 1,
    workers: int = 1,
    seed: int = DEFAULT_SEED,
    physics_data: str | Path | None = None,
    digitise: bool = False,
    output: str | Path | None = None,
    progress: Progress = silent,
    say: Say = say_nothing,
) -> Showers:
    """Simulate showers with Geant4, as ``caloforge simulate`` does, and return them.

    ``detector`` is a name, a YAML file or a :class:`~caloforge.detector.Detector`. ``energy`` (MeV), ``theta`` and ``phi`` (rad,
    by default pi/2) are a value, several that are equally likely, or a :class:`~caloforge.foundations.units.Spectrum` such as
    ``Spectrum("log", (1e3, 1e5))``; ``impact`` is a point (mm from the central cell's centre) or an area, by default all
    of the central cell. ``particle`` may name several, as ``e-,gamma``; by default it is ``e-``. All of these are taken from
    ``like`` where it is given: a shower file, a list of primaries, or showers in memory, over and over if there are more ``events``.
    ``overlay`` particles are added up to each shower; with ``digitise`` showers are what the electronics read out.
    With an ``output``, a shower file, they are kept there, and what was interrupted goes on. Other arguments are those of the command.

    Raises UsageError, MissingExtraError without the extra ``geant4``, CaloforgeError.
    """
    request = SimulationRequest.of(
        detector if isinstance(detector, Detector) else load_detector(detector),
        events,
        _spectrum(energy, "energy", "MeV"),
        theta=_spectrum(theta, "theta", "rad"),
        phi=_spectrum(phi, "phi", "rad"),
        impact=_area(impact),
        particles=None if particle is None else parse_particles(particle, "particle"),
        like=Path(like) if isinstance(like, str) else like,
        overlay=overlay,
        seed=seed,
    )
    if output is not None and Path(output).suffix.lower() in HIT_FILES:
        raise UsageError(f"output {output}: expected a shower file; cf.write writes hits")
    data = find_physics_data(None if physics_data is None else Path(physics_data))
    with TemporaryDirectory(prefix="caloforge-") as folder:
        file = Path(folder) / "showers.h5" if output is None else Path(output)
        simulate_file(
            request,
            file,
            workers=workers,
            physics_data=data,
            digitise=digitise,
            progress=progress,
            say=say,
        )
        return read(file)


def _spectrum(values: Values | None, name: str, unit: str) -> Spectrum | None:
    if isinstance(values, Spectrum | None):
        return values
    try:
        return Spectrum("discrete", tuple(np.atleast_1d(np.asarray(values, np.float64)).tolist()))
    except (TypeError, ValueError):
        raise UsageError(f"{name}: expected numbers in {unit}, or a Spectrum, got {values!r}") from None


def _area(impact: tuple[float, float] | Area | None) -> Area | None:
    if isinstance(impact, Area | None):
        return impact
    try:
        x, y = map(float, impact)
    except (TypeError, ValueError):
        raise UsageError(f"impact: expected (x, y) in mm, or an Area, got {impact!r}") from None
    return Area((x, x), (y, y))
