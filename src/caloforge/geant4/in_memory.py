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
from caloforge.geant4.request import NORMAL, Y_Z_PLANE, SimulationRequest
from caloforge.geant4.simulate import simulate as simulate_file
from caloforge.showers import Showers, parse_particles

__all__ = ["Values", "simulate"]

Values = float | Sequence[float] | Spectrum
"""One value, several of which each shower has one, or a distribution."""


def simulate(
    detector: str | Path | Detector,
    events: int,
    energy: Values,
    *,
    theta: Values = NORMAL,
    phi: Values = Y_Z_PLANE,
    impact: tuple[float, float] | Area | None = None,
    particle: str = "e-",
    workers: int = 1,
    seed: int = DEFAULT_SEED,
    physics_data: str | Path | None = None,
    output: str | Path | None = None,
    progress: Progress = silent,
    say: Say = say_nothing,
) -> Showers:
    """Simulate showers with Geant4, as ``caloforge simulate`` does, and return them.

    ``detector`` is a name, a YAML file or a :class:`~caloforge.detector.Detector`. ``energy`` (MeV), ``theta`` and ``phi`` (rad)
    are a value, several that are equally likely, or a :class:`~caloforge.foundations.units.Spectrum` such as
    ``Spectrum("log", (1e3, 1e5))``; ``impact`` is a point (mm from the central cell's centre) or an area, by default all
    of the central cell. ``particle`` may name several, as ``e-,gamma``. With an ``output``, a shower file, they are kept
    there, and what was interrupted goes on. Other arguments are those of the command.

    Raises UsageError, MissingExtraError without the extra ``geant4``, CaloforgeError.
    """
    request = SimulationRequest(
        detector=detector if isinstance(detector, Detector) else load_detector(detector),
        events=events,
        energy=_spectrum(energy),
        theta=_spectrum(theta),
        seed=seed,
        phi=_spectrum(phi),
        impact=impact if isinstance(impact, Area | None) else Area(*((x, x) for x in impact)),
        particles=parse_particles(particle, "particle"),
    )
    if output is not None and Path(output).suffix.lower() in HIT_FILES:
        raise UsageError(f"output {output}: expected a shower file; cf.write writes hits")
    data = find_physics_data(None if physics_data is None else Path(physics_data))
    with TemporaryDirectory(prefix="caloforge-") as folder:
        file = Path(folder) / "showers.h5" if output is None else Path(output)
        simulate_file(request, file, workers=workers, physics_data=data, progress=progress, say=say)
        return read(file)


def _spectrum(values: Values) -> Spectrum:
    if isinstance(values, Spectrum):
        return values
    return Spectrum("discrete", tuple(np.atleast_1d(np.asarray(values, np.float64)).tolist()))
