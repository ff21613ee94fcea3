"""A worker process: one Geant4, which turns shower numbers into showers until told to stop.

Started by :mod:`caloforge.geant4.pool` with Geant4's data in the environment. Messages over its
one connection: in comes the request and whether the tables must be computed; out goes an
:class:`Introduction`, or an error's text; then in come shower numbers and out go
:class:`SimulatedShower` objects.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import UsageError
from caloforge.geant4.em_tables import has_tables, write_tables
from caloforge.geant4.request import Primary, SimulationRequest

if TYPE_CHECKING:
    from caloforge.geant4 import application as geant4

__all__ = ["Introduction", "SimulatedShower", "serve"]


@dataclass(frozen=True)
class Introduction:
    """What a worker says once Geant4 is ready."""

    geant4_version: str
    physics_list: str


@dataclass(frozen=True, eq=False)
class SimulatedShower:
    """One shower: its number, its primary, cells hit (flat index, ascending) and deposits (MeV)."""

    index: int
    primary: Primary
    cell: NDArray[np.uint32]
    deposit: NDArray[np.float32]
    seconds: float


def serve(descriptor: int) -> None:
    """Serve one connection until it closes."""
    connection = Connection(descriptor)
    request, computed = connection.recv()
    # Here, not above: the parent imports this module for its messages and must never load Geant4.
    from caloforge.geant4 import application as geant4

    try:
        zs = geant4.elements(request.detector)
        if computed:
            emlow = Path(os.environ["G4LEDATA"])
            for z in zs:
                if not has_tables(emlow, z):
                    write_tables(emlow, geant4.sandia_intervals(z))
        simulator = geant4.ShowerSimulator(request.detector, request.particles)
    except UsageError as error:
        connection.send(str(error))
        return
    connection.send(Introduction(geant4.GEANT4_VERSION, simulator.physics_list))
    while True:
        try:
            index: int = connection.recv()
        except EOFError:
            return
        connection.send(_shower(simulator, request, index))


def _shower(
    simulator: geant4.ShowerSimulator, request: SimulationRequest, index: int
) -> SimulatedShower:
    started = time.perf_counter()
    primary = request.primary(index)
    cell, deposit = simulator.shower(primary)
    return SimulatedShower(index, primary, cell, deposit, time.perf_counter() - started)
