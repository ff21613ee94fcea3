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
    from caloforge.generation.sampler import Generator, load
    from caloforge.showers import Showers

    __version__: str

__all__ = ["Generator", "Showers", "__version__", "load", "read", "write"]

# Before torch is imported. Threads that wait for each other by spinning take the time of those that
# they wait for wherever a core is shared: measured there, training was 15 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


HOMES = {
    "Generator": "caloforge.generation.sampler",
    "load": "caloforge.generation.sampler",
    "read": "caloforge.files.shower_file",
    "write": "caloforge.files.shower_writer",
    "Showers": "caloforge.showers",
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
