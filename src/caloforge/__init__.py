"""caloforge: learn a calorimeter's response from Geant4, then make showers much faster.

>>> import caloforge as cf
>>> showers = cf.read("showers.h5")
>>> fresh = cf.load("run/").generate(energy=[50e3], seed=1)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caloforge.files.shower_file import read
    from caloforge.files.shower_writer import write
    from caloforge.foundations.errors import CaloforgeError, CaloforgeWarning
    from caloforge.foundations.units import Area, Spectrum
    from caloforge.geant4.in_memory import simulate
    from caloforge.generation.sampler import Generator, load
    from caloforge.report.validate import validate
    from caloforge.showers import Showers
    from caloforge.training.session import train

    __version__: str

__all__ = [
    "Area",
    "CaloforgeError",
    "CaloforgeWarning",
    "Generator",
    "Showers",
    "Spectrum",
    "__version__",
    "load",
    "read",
    "simulate",
    "train",
    "validate",
    "write",
]

# Before torch is imported. Threads that wait for each other by spinning take the time of those that
# they wait for wherever a core is shared: measured there, training was 15 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


HOMES = {
    "Area": "caloforge.foundations.units",
    "CaloforgeError": "caloforge.foundations.errors",
    "CaloforgeWarning": "caloforge.foundations.errors",
    "Generator": "caloforge.generation.sampler",
    "Showers": "caloforge.showers",
    "Spectrum": "caloforge.foundations.units",
    "load": "caloforge.generation.sampler",
    "read": "caloforge.files.shower_file",
    "simulate": "caloforge.geant4.in_memory",
    "train": "caloforge.training.session",
    "validate": "caloforge.report.validate",
    "write": "caloforge.files.shower_writer",
}


def __getattr__(name: str) -> Any:
    # torch takes a second to import, h5py a part of one; the program is there before either.
    if name == "__version__":
        from importlib.metadata import version

        return version("caloforge")
    if name in HOMES:
        from importlib import import_module

        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'caloforge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
