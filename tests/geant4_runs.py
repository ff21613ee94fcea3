"""What the tests of the simulation share: types of fixtures, and folders that look official."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from caloforge.geant4.request import SimulationRequest

Sample = Callable[[str, str, int], Path]
"""Makes a file of showers at normal incidence: detector, energies in GeV, number of showers."""

Simulated = Callable[[str, SimulationRequest], Path]
"""Makes a file of what is requested, by name."""

Started = Callable[..., "subprocess.Popen[str]"]
"""Starts the real command line with these arguments."""


def data_sets(root: Path, emlow: str = "G4EMLOW8.8", last_z: int = 92) -> Path:
    """Lay out a folder as the official download leaves it: the names, without content."""
    tables = (f"{emlow}/{name}" for name in ("brem_SB", "epics2017/phot", "epics2017/rayl"))
    for name in (*tables, "G4ENSDFSTATE3.0", "G4NDL4.7.1"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "G4ENSDFSTATE3.0/ENSDFSTATE.dat").touch()
    for z in range(1, last_z + 1):
        (root / emlow / f"brem_SB/br{z}").touch()
        (root / emlow / f"epics2017/rayl/re-cs-{z}.dat").touch()
        for kind in ("high", "low", "cs"):
            (root / emlow / f"epics2017/phot/pe-{kind}-{z}.dat").touch()
    return root
