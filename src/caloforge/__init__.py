"""caloforge: learn a calorimeter's response from Geant4, then make showers much faster.

>>> import caloforge as cf
>>> showers = cf.read("showers.h5")
>>> fresh = cf.load("run/").generate(energy=[50e3], seed=1)
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from caloforge.files.shower_file import read, write
from caloforge.showers import Showers

if TYPE_CHECKING:
    from caloforge.generation.sampler import Generator, load

__all__ = ["Generator", "Showers", "__version__", "load", "read", "write"]

__version__ = version("caloforge")

# Before torch is imported. Threads that wait for each other by spinning take the time of those that
# they wait for wherever a core is shared: measured there, training was 15 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    # torch takes a second to import; reading files needs none of it.
    if name in ("Generator", "load"):
        from caloforge.generation import sampler as generate

        return getattr(generate, name)
    raise AttributeError(f"module 'caloforge' has no attribute {name!r}")
